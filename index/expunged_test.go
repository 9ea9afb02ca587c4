package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"mailcrypt/mailbox"
)

func wantExpunged(t *testing.T, m *Mailbox, since mailbox.ModSeq, want ...mailbox.UID) {
	t.Helper()
	if got, complete := m.Expunged(since); !complete || !slices.Equal(got, want) {
		t.Errorf("expunged since %d: %v, complete %v; want %v", since, got, complete, want)
	}
}

func wantIncomplete(t *testing.T, m *Mailbox, since mailbox.ModSeq) {
	t.Helper()
	if got, complete := m.Expunged(since); complete || got != nil {
		t.Errorf("expunged since %d: %v, complete %v; want incomplete", since, got, complete)
	}
}

// begun is a mailbox whose log reaches back to the modseq that is returned.
func begun(t *testing.T, d *DB) (*Mailbox, mailbox.ModSeq) {
	t.Helper()
	m, _ := d.Mailbox(guid)
	first := m.NextModSeq()
	m.Put(7, 100, nil, nil)
	return m, first
}

func TestExpunged(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	d, _ := opened(t, path)
	m, first := begun(t, d)
	wantIncomplete(t, m, first-1)
	wantExpunged(t, m, first)
	a := m.NextModSeq()
	m.Put(7, 100, nil, []mailbox.UID{9, 3, 4})
	wantExpunged(t, m, first, 3, 4, 9)
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	b := m.NextModSeq()
	m.Put(7, 100, nil, []mailbox.UID{5})
	check := func(m *Mailbox) {
		t.Helper()
		wantIncomplete(t, m, first-1)
		wantExpunged(t, m, first, 3, 4, 5, 9) // from disk and from memory
		wantExpunged(t, m, a, 5)
		wantExpunged(t, m, b)
		wantExpunged(t, m, math.MaxUint64)
	}
	check(m)
	m.Close()
	m, _ = d.Mailbox(guid)
	check(m)
	d.Close()
	d, _ = opened(t, path)
	m, _ = d.Mailbox(guid)
	check(m)

	// Another UIDVALIDITY knows nothing of what was.
	m.Put(8, 1, nil, nil)
	wantIncomplete(t, m, b-1)
	c := m.NextModSeq()
	m.Put(8, 1, nil, []mailbox.UID{1})
	for range 2 {
		wantExpunged(t, m, b, 1)
		wantExpunged(t, m, c)
		if err := d.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	m.Forget()
	m.Put(8, 1, nil, nil)
	wantIncomplete(t, m, b)
	wantExpunged(t, m, c)
	d.DropMailbox(guid)
	wantIncomplete(t, m, c)
	m, _ = d.Mailbox(guid)
	wantIncomplete(t, m, c)
}

// What an index of format 1 has recorded is kept; its log begins with its bound.
func TestUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	fill(t, path)
	const highest, reserved = 1000, 2000
	edit(t, path, func(tx *bolt.Tx) error {
		box := tx.Bucket(boxBucket).Bucket(guid[:])
		old := binary.BigEndian.AppendUint32(nil, 7)
		old = binary.BigEndian.AppendUint32(old, 3001)
		old = binary.BigEndian.AppendUint64(old, highest)
		old = binary.BigEndian.AppendUint64(old, reserved)
		return errors.Join(tx.Bucket(metaBucket).Put(formatKey, oldFormat), box.Put(headerKey, append(old, 0)),
			box.Delete(logKey), box.DeleteBucket(eventsKey))
	})
	d, log := opened(t, path)
	for range 2 {
		m, s := d.Mailbox(guid)
		if len(s.Records) != 3000 || s.HighestModSeq < reserved || log.Len() > 0 {
			t.Fatalf("%d records, highest %d, log %q", len(s.Records), s.HighestModSeq, log)
		}
		wantIncomplete(t, m, reserved-1)
		gone := []mailbox.UID{5}
		m.NextModSeq()
		m.Put(7, 3001, nil, gone)
		wantExpunged(t, m, reserved, gone...)
		wantIncomplete(t, m, reserved-1)
		d.Close()
		edit(t, path, func(tx *bolt.Tx) error { // once more with what we wrote
			r := record(5, 1)
			return tx.Bucket(boxBucket).Bucket(guid[:]).Bucket(messagesKey).Put(uidKey(5), r.encode())
		})
		d, log = opened(t, path)
	}
}

// The log keeps to its limits, and what it does not know any more it does not pretend to.
func TestLogLimits(t *testing.T) {
	for name, size := range map[string]int{"many": 1, "large": 400} {
		t.Run(name, func(t *testing.T) {
			d, _ := opened(t, filepath.Join(t.TempDir(), FileName))
			m, _ := begun(t, d)
			type expunge struct {
				modseq mailbox.ModSeq
				uids   []mailbox.UID
			}
			var all []expunge
			ever := map[mailbox.UID]bool{}
			next := mailbox.UID(1)
			n := 2 * maxEvents
			if size > 1 {
				n = 3 * maxEventBytes / size / 2
			}
			for i := range n {
				var uids []mailbox.UID
				for range size {
					uids = append(uids, next)
					ever[next] = true
					next += 3 + mailbox.UID(rand.N(200))
				}
				all = append(all, expunge{m.NextModSeq(), uids})
				m.Put(7, next, nil, uids)
				if i%500 == 0 {
					if err := d.Flush(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := d.Flush(); err != nil {
				t.Fatal(err)
			}
			var s logState
			d.view(func(tx *bolt.Tx) error {
				box := tx.Bucket(boxBucket).Bucket(guid[:])
				s, _ = decodeLogState(box.Get(logKey))
				var events, size uint32
				c := box.Bucket(eventsKey).Cursor()
				for k, v := c.First(); k != nil; k, v = c.Next() {
					events, size = events+1, size+uint32(len(k)+len(v))
				}
				if s.events != events || s.bytes != size || events > maxEvents || size > maxEventBytes || events < 100 {
					t.Errorf("log of %d events in %d bytes, recorded as %+v", events, size, s)
				}
				return nil
			})
			// Every answer that is complete has all, and nothing that never was expunged.
			known, exact := 0, 0
			for i := 0; i < len(all); i += 1 + rand.N(200) {
				var want []mailbox.UID
				for _, e := range all[i+1:] {
					want = append(want, e.uids...)
				}
				got, complete := m.Expunged(all[i].modseq)
				if !complete {
					if all[i].modseq >= s.floor {
						t.Errorf("incomplete above the floor")
					}
					continue
				}
				known++
				if len(got) == len(want) {
					exact++
				}
				if len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) {
					t.Fatalf("expunged since event %d: %d UIDs, want %d", i, len(got), len(want))
				}
				for _, uid := range got {
					if !ever[uid] {
						t.Fatalf("UID %d never was expunged", uid)
					}
				}
			}
			if known == 0 || exact == 0 || exact == known && size == 1 {
				t.Errorf("%d answers complete, %d of them exact", known, exact)
			}
		})
	}
}

// An expunge that does not fit, and more outstanding than memory may hold.
func TestTooMuchAtOnce(t *testing.T) {
	d, _ := opened(t, filepath.Join(t.TempDir(), FileName))
	m, first := begun(t, d)
	var odd []mailbox.UID
	for uid := mailbox.UID(1); uid < maxEventBytes*2; uid += 2 {
		odd = append(odd, uid)
	}
	big := m.NextModSeq()
	m.Put(7, 1<<20, nil, odd)
	wantExpunged(t, m, first, odd...) // as long as it is in memory
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	wantIncomplete(t, m, first)
	wantExpunged(t, m, big)
	for uid := range 2 * maxEvents {
		m.NextModSeq()
		m.Put(7, 1<<20, nil, []mailbox.UID{mailbox.UID(uid + 1)})
	}
	if n := len(d.dirty[guid].events); n > maxEvents {
		t.Errorf("%d events wait in memory", n)
	}
	wantIncomplete(t, m, big)
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	wantIncomplete(t, m, big)
	wantExpunged(t, m, m.h.highest-1, 2*maxEvents)
}

// A damaged log is told from one that is whole; the records beside it are kept.
func TestDamagedLog(t *testing.T) {
	for name, damage := range map[string]func(box *bolt.Bucket) error{
		"state":       func(box *bolt.Bucket) error { return box.Put(logKey, []byte("x")) },
		"state zero":  func(box *bolt.Bucket) error { return box.Put(logKey, make([]byte, logStateLen)) },
		"no state":    func(box *bolt.Bucket) error { return box.Delete(logKey) },
		"flipped bit": func(box *bolt.Bucket) error { return flip(box.Bucket(eventsKey)) },
		"key":         func(box *bolt.Bucket) error { return box.Bucket(eventsKey).Put([]byte("\xf0"), []byte("12345")) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), FileName)
			d, _ := opened(t, path)
			m, first := begun(t, d)
			m.NextModSeq()
			m.Put(7, 100, []Record{record(1, first)}, []mailbox.UID{5, 6, 50})
			d.Close()
			edit(t, path, func(tx *bolt.Tx) error { return damage(tx.Bucket(boxBucket).Bucket(guid[:])) })
			d, log := opened(t, path)
			m, s := d.Mailbox(guid)
			if len(s.Records) != 1 {
				t.Errorf("records: %+v", s.Records)
			}
			wantIncomplete(t, m, first)
			if name != "no state" && !strings.Contains(log.String(), "damaged") {
				t.Errorf("log: %q", log)
			}
			now := m.NextModSeq()
			m.Put(7, 100, nil, []mailbox.UID{7})
			for range 2 {
				wantIncomplete(t, m, first)
				if err := d.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			wantExpunged(t, m, now)
			m.NextModSeq()
			m.Put(7, 100, nil, []mailbox.UID{8})
			wantExpunged(t, m, now, 8)
			if !d.Persistent() {
				t.Error("the index was given up")
			}
		})
	}
}

// flip changes a UID of the first event.
func flip(events *bolt.Bucket) error {
	k, v := events.Cursor().First()
	v = bytes.Clone(v)
	v[4] ^= 1
	return events.Put(bytes.Clone(k), v)
}

// Compacting meets damage that no answer has met before.
func TestCompactDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	d, _ := opened(t, path)
	m, first := begun(t, d)
	put := func() {
		for uid := range maxEvents {
			m.NextModSeq()
			m.Put(7, 100, nil, []mailbox.UID{mailbox.UID(2*uid + 1)})
		}
	}
	put()
	d.Close()
	edit(t, path, func(tx *bolt.Tx) error { return flip(tx.Bucket(boxBucket).Bucket(guid[:]).Bucket(eventsKey)) })
	d, _ = opened(t, path)
	m, s := d.Mailbox(guid)
	put()
	last := m.NextModSeq()
	m.Put(7, 100, nil, []mailbox.UID{3})
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	wantIncomplete(t, m, first)
	wantIncomplete(t, m, s.HighestModSeq)
	wantExpunged(t, m, last)
	m.NextModSeq()
	m.Put(7, 100, nil, []mailbox.UID{8})
	wantExpunged(t, m, last, 8)
}

// Sync waits for what was put, whoever writes it.
func TestSyncShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	d, _ := opened(t, path)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			id := mailbox.GUID{byte(n + 1)}
			m, _ := d.Mailbox(id)
			for uid := range mailbox.UID(20) {
				m.Put(7, uid+2, []Record{record(uid+1, m.NextModSeq())}, nil)
				if err := m.Sync(); err != nil {
					t.Error(err)
				}
				d.view(func(tx *bolt.Tx) error {
					if tx.Bucket(boxBucket).Bucket(id[:]).Bucket(messagesKey).Get(uidKey(uid+1)) == nil {
						t.Errorf("UID %d is not on disk", uid+1)
					}
					return nil
				})
			}
		})
	}
	wg.Wait()
}

// Those who wait while one writes share the next write.
func TestSyncSharesWrites(t *testing.T) {
	const others = 8
	writes := 0
	started, release := make(chan struct{}), make(chan struct{})
	d := Open(filepath.Join(t.TempDir(), FileName), Options{Delay: time.Hour, Write: func(commit func() error) error {
		if writes++; writes == 1 {
			close(started)
			<-release
		}
		return commit()
	}})
	defer d.Close()
	var put, done sync.WaitGroup
	start := func(m *Mailbox) {
		put.Add(1)
		done.Go(func() {
			m.Put(7, 1, nil, nil)
			put.Done()
			if err := m.Sync(); err != nil {
				t.Error(err)
			}
		})
	}
	var all [others + 1]*Mailbox
	for i := range all { // now, for it waits for writes
		all[i], _ = d.Mailbox(mailbox.GUID{byte(i + 1)})
	}
	start(all[0])
	<-started
	for _, m := range all[1:] {
		start(m)
	}
	put.Wait()
	close(release)
	done.Wait()
	if writes != 2 {
		t.Errorf("%d writes for %d callers", writes, others+1)
	}
}

// Sync does not write where nothing is outstanding.
func TestSyncNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	d, _ := opened(t, path)
	m, _ := begun(t, d)
	other, _ := d.Mailbox(mailbox.GUID{9})
	if err := m.Sync(); err != nil {
		t.Fatal(err)
	}
	other.Put(1, 1, nil, nil)
	d.writing.Lock() // a write would wait for ever
	err := m.Sync()
	d.writing.Unlock()
	if err != nil {
		t.Error(err)
	}
}

func TestSyncWithoutFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	d, _ := opened(t, path)
	m, _ := begun(t, d)
	again, _ := d.Mailbox(guid)
	if err := m.Sync(); !errors.Is(err, mailbox.ErrNoModSeqs) {
		t.Errorf("Sync of who does not have the mailbox any more: %v", err)
	}
	m.Put(7, 100, []Record{record(5, 5)}, nil)
	m.Close()
	if err := m.Sync(); !errors.Is(err, ErrClosed) || errors.Is(err, mailbox.ErrNoModSeqs) {
		t.Errorf("Sync after Close: %v", err)
	}
	if err := again.Sync(); err != nil {
		t.Error(err)
	}
	if _, s := d.Mailbox(guid); len(s.Records) != 0 {
		t.Error("a record of who does not have the mailbox any more was taken")
	}
	memory, _ := opened(t, "")
	m, first := begun(t, memory)
	if err := m.Sync(); !errors.Is(err, mailbox.ErrNoModSeqs) {
		t.Errorf("Sync in memory: %v", err)
	}
	wantIncomplete(t, m, first)
	cut(t, path, 0)
	again.Put(7, 100, nil, nil)
	if err := again.Sync(); err == nil {
		t.Error("Sync to a file that was cut")
	}
	if err := again.Sync(); !errors.Is(err, mailbox.ErrNoModSeqs) {
		t.Errorf("Sync after the file was given up: %v", err)
	}
}

// What could not be written is not lost, and known to who opens the mailbox again.
func TestSyncFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	fill(t, path)
	d, _ := opened(t, path)
	m, _ := d.Mailbox(guid)
	a := m.NextModSeq()
	m.Put(7, 3001, nil, []mailbox.UID{1})
	if err := m.Sync(); err != nil {
		t.Fatal(err)
	}
	// The next write fails: the file has become too small for its pages, as on a full disk.
	restore := limitFileSize(t, path)
	b := m.NextModSeq()
	var changed []Record
	for uid := range mailbox.UID(20_000) {
		if uid != 3 {
			changed = append(changed, record(uid+2, b, "a keyword"))
		}
	}
	m.Put(7, 30_000, changed, []mailbox.UID{5})
	if err := m.Sync(); err == nil {
		t.Fatal("the limit limits nothing")
	}
	if err := m.Sync(); err == nil {
		t.Error("Sync forgot what it could not write")
	}
	m.Close()
	m, s := d.Mailbox(guid)
	if s.HighestModSeq != b || len(s.Records) != 19_999 || !slices.IsSortedFunc(s.Records, func(x, y Record) int { return int(x.UID) - int(y.UID) }) {
		t.Errorf("opened again: %d records, highest %d, want %d", len(s.Records), s.HighestModSeq, b)
	}
	wantExpunged(t, m, a, 5)
	wantExpunged(t, m, a-1, 1, 5)
	restore()
	if err := m.Sync(); err != nil {
		t.Errorf("after the disk has room again: %v", err)
	}
	m, s = crashed(t, path).Mailbox(guid)
	if s.HighestModSeq != b || len(s.Records) != 19_999 {
		t.Errorf("on disk: %d records, highest %d, want %d", len(s.Records), s.HighestModSeq, b)
	}
	wantExpunged(t, m, a-1, 1, 5)
}

func FuzzEvent(f *testing.F) {
	for _, e := range []event{
		newEvent(1, []mailbox.UID{1}),
		newEvent(1<<40, []mailbox.UID{5, 6, 7, 100, 1000, 4_000_000_000}),
		newEvent(math.MaxInt64, []mailbox.UID{math.MaxUint32 - 1, math.MaxUint32, math.MaxUint32}),
	} {
		_, value := e.encode()
		f.Add(uint64(e.modseq), value[4:])
	}
	f.Add(uint64(7), []byte{0x81, 0x00, 0x00}) // not the shortest
	f.Add(uint64(7), []byte{3, 0, 1, 0})       // without a gap
	f.Fuzz(func(t *testing.T, modseq uint64, ranges []byte) {
		key := modseqKey(mailbox.ModSeq(modseq))
		value := append(binary.BigEndian.AppendUint32(nil, eventSum(key, ranges)), ranges...)
		e, err := decodeEvent(key, value)
		if err != nil {
			if !errors.Is(err, errRecord) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		k, v := e.encode()
		if !bytes.Equal(k, key) || !bytes.Equal(v, value) {
			t.Errorf("%x %x comes back as %x %x", key, value, k, v)
		}
		last := uint64(0)
		for _, r := range e.uids {
			if uint64(r.first) <= last || r.last < r.first {
				t.Errorf("ranges %v", e.uids)
			}
			last = uint64(r.last) + 1
		}
		if both := e.with(e); !slices.Equal(both.uids, e.uids) {
			t.Errorf("%v with itself is %v", e.uids, both.uids)
		}
		value[len(value)-1] ^= 0x40
		if _, err := decodeEvent(key, value); err == nil {
			t.Error("a changed bit was not noticed")
		}
	})
}

func TestNewEvent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		set := map[mailbox.UID]bool{}
		draw := func() (uids []mailbox.UID) {
			for range r.IntN(20) + 1 {
				uid := mailbox.UID(r.IntN(30) + 1)
				set[uid] = true
				uids = append(uids, uid)
			}
			return uids
		}
		e := newEvent(3, draw()).with(newEvent(9, draw()))
		var got []mailbox.UID
		for _, r := range e.uids {
			for uid := r.first; uid <= r.last; uid++ {
				got = append(got, uid)
			}
		}
		if len(got) != len(set) || e.count() != uint64(len(set)) || !slices.IsSorted(got) || e.modseq != 9 {
			t.Fatalf("%v of %v", e, set)
		}
	}
}

func BenchmarkExpunged(b *testing.B) {
	d := Open(filepath.Join(b.TempDir(), FileName), Options{Delay: time.Hour})
	defer d.Close()
	m, _ := d.Mailbox(guid)
	m.NextModSeq()
	m.Put(7, 1, nil, nil)
	for uid := range maxEvents {
		m.NextModSeq()
		m.Put(7, 1, nil, []mailbox.UID{mailbox.UID(3 * (uid + 1))})
	}
	if err := d.Flush(); err != nil {
		b.Fatal(err)
	}
	for name, back := range map[string]mailbox.ModSeq{"recent": 5, "old": maxEvents} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, complete := m.Expunged(m.h.highest - back); !complete {
					b.Fatal("incomplete")
				}
			}
		})
	}
}
