// Package metrics counts what the daemon does, for Prometheus. Labels are never users,
// addresses or anything of a message.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the counters of one daemon. Methods may be called concurrently.
type Metrics struct {
	registry *prometheus.Registry
	IMAP     *IMAP
	LMTP     *LMTP
}

// IMAP implements imapd.Metrics.
type IMAP struct {
	connections prometheus.Gauge
	accepted    prometheus.Counter
	logins      *prometheus.CounterVec
	commands    *prometheus.HistogramVec
	unreadable  *prometheus.CounterVec
	refused     *prometheus.CounterVec
	delays      prometheus.Counter
	delayed     prometheus.Counter
	compressed  prometheus.Gauge
	handshakes  *prometheus.CounterVec
	panics      prometheus.Counter
}

// LMTP implements lmtpd.Metrics.
type LMTP struct {
	connections prometheus.Gauge
	deliveries  *prometheus.CounterVec
	bytes       prometheus.Counter
	panics      prometheus.Counter
}

// New returns zeroed metrics.
func New() *Metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "mailcryptd", Name: name, Help: help})
		r.MustRegister(g)
		return g
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "mailcryptd", Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "mailcryptd", Name: name, Help: help}, labels)
		r.MustRegister(c)
		return c
	}
	commands := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "mailcryptd", Name: "imap_command_seconds", Help: "Time to answer IMAP commands.",
		Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 60},
	}, []string{"command", "result"})
	r.MustRegister(commands)
	return &Metrics{
		registry: r,
		IMAP: &IMAP{
			connections: gauge("imap_connections", "Open IMAP connections."),
			accepted:    counter("imap_connections_total", "IMAP connections accepted."),
			logins:      vector("imap_logins_total", "Answered logins.", "result"),
			commands:    commands,
			unreadable:  vector("decryption_failures_total", "Messages that could not be read.", "kind"),
			refused:     vector("imap_refused_total", "Connections refused, and logins beyond a limit.", "reason"),
			delays:      counter("imap_login_delays_total", "Logins that waited because logins had failed."),
			delayed:     counter("imap_login_delay_seconds_total", "Time that logins waited because logins had failed."),
			compressed:  gauge("imap_compressed_connections", "Open IMAP connections that are compressed."),
			handshakes:  vector("imap_tls_handshakes_total", "TLS handshakes that succeeded.", "version"),
			panics:      counter("imap_panics_total", "Connections that ended in a panic."),
		},
		LMTP: &LMTP{
			connections: gauge("lmtp_connections", "Open LMTP connections."),
			deliveries:  vector("lmtp_deliveries_total", "Recipients answered: saved, deferred, refused, over_quota.", "result"),
			bytes:       counter("lmtp_bytes_total", "Bytes of delivered messages, once a recipient."),
			panics:      counter("lmtp_panics_total", "LMTP connections that ended in a panic."),
		},
	}
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return mux
}

// Connection counts an opened (+1) or closed (-1) connection.
func (i *IMAP) Connection(delta int) {
	i.connections.Add(float64(delta))
	if delta > 0 {
		i.accepted.Inc()
	}
}

// Login counts an answered login.
func (i *IMAP) Login(ok bool) {
	result := "failed"
	if ok {
		result = "ok"
	}
	i.logins.WithLabelValues(result).Inc()
}

// Command counts an answered command.
func (i *IMAP) Command(name, result string, took time.Duration) {
	i.commands.WithLabelValues(name, result).Observe(took.Seconds())
}

// Unreadable counts a message that could not be read, by kind.
func (i *IMAP) Unreadable(kind string) { i.unreadable.WithLabelValues(kind).Inc() }

// Refused counts a connection that was refused, or a login beyond a limit, by reason.
func (i *IMAP) Refused(reason string) { i.refused.WithLabelValues(reason).Inc() }

// LoginDelay counts a login that waits because logins have failed.
func (i *IMAP) LoginDelay(d time.Duration) {
	i.delays.Inc()
	i.delayed.Add(d.Seconds())
}

// Compressed counts a connection that begins (+1) or ends (-1) to be compressed.
func (i *IMAP) Compressed(delta int) { i.compressed.Add(float64(delta)) }

// TLS counts a handshake by the version that it agreed on.
func (i *IMAP) TLS(version string) { i.handshakes.WithLabelValues(version).Inc() }

// Panic counts a connection that ended in a panic.
func (i *IMAP) Panic() { i.panics.Inc() }

// Connection counts an opened (+1) or closed (-1) connection.
func (l *LMTP) Connection(delta int) { l.connections.Add(float64(delta)) }

// Delivery counts a recipient's answer and, where the message was saved, its size.
func (l *LMTP) Delivery(result string, size int64) {
	l.deliveries.WithLabelValues(result).Inc()
	if result == "saved" {
		l.bytes.Add(float64(size))
	}
}

// Panic counts a panic that was caught.
func (l *LMTP) Panic() { l.panics.Inc() }
