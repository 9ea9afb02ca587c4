package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A row is what was measured of a work.
type row struct {
	work
	samples [][]sample // by subject, then round
	load    string     // of the machine when it began
	err     error
}

// A spread is a median and its extremes.
type spread struct{ median, min, max float64 }

func spreadOf(v []float64) spread {
	if len(v) == 0 {
		return spread{}
	}
	v = slices.Sorted(slices.Values(v))
	m := v[len(v)/2]
	if len(v)%2 == 0 {
		m = (v[len(v)/2-1] + m) / 2
	}
	return spread{m, v[0], v[len(v)-1]}
}

// figure prints three digits or more of a number.
func figure(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	case f > 0 && f < 0.1:
		return fmt.Sprintf("%.1g", f)
	}
	return fmt.Sprintf("%.2f", f)
}

func (s spread) String() string {
	return fmt.Sprintf("%s (%s–%s)", figure(s.median), figure(s.min), figure(s.max))
}

// rate is units a second of a subject.
func (r row) rate(i int) spread {
	var v []float64
	for _, s := range r.samples[i] {
		v = append(v, float64(r.count)/max(s.wall, time.Microsecond).Seconds())
	}
	return spreadOf(v)
}

// ratio is how many times as fast the second subject was as the first, pair by pair.
func (r row) ratio() spread {
	var v []float64
	for i, a := range r.samples[0] {
		v = append(v, float64(a.wall)/float64(max(r.samples[1][i].wall, 1)))
	}
	return spreadOf(v)
}

// cpu is the median of milliseconds that a unit cost a server.
func (r row) cpu(i int) float64 {
	var v []float64
	for _, s := range r.samples[i] {
		v = append(v, float64(s.cpu.Microseconds())/1000/float64(r.count))
	}
	return spreadOf(v).median
}

// cells are the row as the table has it.
func (r row) cells() []string {
	if r.err != nil {
		return []string{r.name, "failed: " + strings.ReplaceAll(r.err.Error(), "\n", " "), "", "", "", "", ""}
	}
	a, b := r.rate(0), r.rate(1)
	name := r.name
	if r.bytes > 0 {
		per := float64(r.bytes) / float64(r.count) / (1 << 20)
		if per >= 1.0/16 {
			name += fmt.Sprintf(" (%s, %s MiB/s)", figure(a.median*per), figure(b.median*per))
		}
	}
	return []string{name, r.unit + "/s", a.String(), b.String(), r.ratio().String(), figure(r.cpu(0)) + " → " + figure(r.cpu(1)), r.load}
}

// report is everything as Markdown, which reads well on a terminal too.
func (b *bench) report() string {
	var w strings.Builder
	w.WriteString(b.machine)
	var title string
	var rows [][]string
	flush := func() {
		if len(rows) > 1 {
			table(&w, rows)
		}
		rows = nil
	}
	for _, r := range b.rows {
		if len(r.subjects) < 2 {
			fmt.Fprintf(&w, "\n%s failed: %v\n", r.name, r.err)
			continue
		}
		if t := r.subjects[0].label + r.subjects[1].label; t != title {
			flush()
			title = t
			rows = [][]string{{"work", "unit", r.subjects[0].label, r.subjects[1].label, "times as fast", "CPU ms a unit", "load"}}
		}
		rows = append(rows, r.cells())
	}
	flush()
	rows = [][]string{{"counted", "server", "is"}}
	for _, f := range b.facts {
		rows = append(rows, []string{f.what, f.server, f.value})
	}
	flush()
	return w.String()
}

// table writes a Markdown table with columns of even width.
func table(w *strings.Builder, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, c := range r {
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	w.WriteByte('\n')
	for n, r := range rows {
		for i, c := range r {
			w.WriteString("| " + c + strings.Repeat(" ", width[i]-len([]rune(c))+1))
		}
		w.WriteString("|\n")
		if n == 0 {
			for i := range r {
				w.WriteString("|" + strings.Repeat("-", width[i]+2))
			}
			w.WriteString("|\n")
		}
	}
}
