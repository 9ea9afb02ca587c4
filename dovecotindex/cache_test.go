package dovecotindex

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailcrypt/internal/dovetest"
	"mailcrypt/internal/teststore"
	"mailcrypt/mailbox"
)

// Dovecot says of each message what its cache said to us.
func TestCacheSdbox(t *testing.T)   { testCache(t, "sdbox") }
func TestCacheMaildir(t *testing.T) { testCache(t, "maildir") }

func testCache(t *testing.T, driver string) {
	location := map[string]string{"sdbox": "sdbox:~/sdbox", "maildir": "maildir:~/Maildir"}[driver]
	settings := small + "mail_always_cache_fields = date.save date.received size.physical size.virtual hdr.subject imap.envelope\n"
	dovetest.Run(t, location, settings, func(t *testing.T, d *dovetest.Dovecot) {
		s := d.IMAP()
		p := newPlayer(t, d, s)
		for range 9 {
			s.Append("INBOX", "", "Subject: a\r\n\r\nb\r\n")
		}
		known := 0
		for range 3 {
			for range 12 {
				p.step([]string{"INBOX"})
			}
			s.OK("UID FETCH 1:* (RFC822.SIZE INTERNALDATE ENVELOPE)")
			path := liveIndex(d, driver, "INBOX")
			x, err := Read(t.Context(), path)
			must(t, err)
			c, err := ReadCache(path, x)
			must(t, err)
			// Under load, Dovecot's session and doveadm may each give a file of a Maildir a UID, and
			// warn of it: that is between them.
			rows := strings.Split(d.Output("", "fetch", "uid date.saved.unixtime date.received.unixtime size.physical size.virtual", "all"), "\n")
			for _, row := range rows[1:] {
				var uid mailbox.UID
				var saved, received, physical, virtual int64
				if n, _ := fmt.Sscan(row, &uid, &saved, &received, &physical, &virtual); n != 5 {
					continue
				}
				i, ok := x.Find(uid)
				if !ok {
					t.Fatalf("Dovecot has UID %d", uid)
				}
				sizes := c.Sizes(i)
				bad := func(known bool, got, want int64) bool { return known && got != want }
				if bad(!c.Saved(i).IsZero(), c.Saved(i).Unix(), saved) || bad(!c.Received(i).IsZero(), c.Received(i).Unix(), received) ||
					bad(sizes.Physical >= 0, sizes.Physical, physical) || bad(sizes.Virtual >= 0, sizes.Virtual, virtual) {
					t.Errorf("the cache says %v %v %v, Dovecot %s", c.Saved(i), c.Received(i), sizes, row)
				}
				if !c.Saved(i).IsZero() && sizes.Virtual >= 0 {
					known++
				}
			}
		}
		if known == 0 {
			t.Error("the cache said nothing")
		}
		s.Close()
	})
}

// caches are those of the recorded stores, with their indexes.
func caches(t testing.TB) (all []struct {
	index *Index
	cache []byte
}) {
	archives, _ := filepath.Glob("../testdata/vectors/*/store.tar.gz")
	for _, a := range archives {
		files := teststore.Files(t, a)
		for name, b := range files {
			path, ok := strings.CutSuffix(name, ".cache")
			if !ok {
				continue
			}
			x, err := Parse(Files{Index: files[path], Log: files[path+".log"], Log2: files[path+".log.2"]})
			if err != nil {
				continue
			}
			all = append(all, struct {
				index *Index
				cache []byte
			}{x, b})
		}
	}
	if len(all) < 5 {
		t.Fatalf("only %d caches in the recorded stores", len(all))
	}
	return all
}

func TestRecordedCaches(t *testing.T) {
	records := 0
	for _, r := range caches(t) {
		if _, err := ParseCache(r.cache, r.index); err != nil {
			t.Error(err)
		}
		e, _ := r.index.Extension("cache")
		for i := range r.index.Len() {
			if e.Record(i) != nil && e.ResetID == le.Uint32(r.cache[8:]) {
				records++
			}
		}
	}
	if records < 10 {
		t.Errorf("only %d messages had records", records)
	}
}

// A cache that is damaged anywhere ends, says so, and does not run in circles.
func TestDamagedCache(t *testing.T) {
	all := caches(t)
	r := slices.MinFunc(all, func(a, b struct {
		index *Index
		cache []byte
	}) int {
		return len(a.cache) - len(b.cache)
	})
	for at := range r.cache {
		for _, v := range []byte{0, 1, 0x80, 0xff} {
			b := slices.Clone(r.cache)
			b[at] = v
			if c, err := ParseCache(b, r.index); err != nil {
				var e *CorruptError
				if c == nil || !errors.As(err, &e) {
					t.Fatal(c, err)
				}
			}
		}
	}
}

func FuzzParseCache(f *testing.F) {
	log := begin().add(1, 2, 3).intro(byName, 5, 0, 4, 4, 0, "cache").rec(typeExtRecord, []uint32{1, 0x60, 2, 0x80, 3, 0x80}).b
	x, err := Parse(Files{Log: log})
	must(f, err)
	for _, r := range caches(f) {
		if len(r.cache) < 8000 {
			b := slices.Clone(r.cache)
			le.PutUint32(b[4:], x.ID)
			le.PutUint32(b[8:], 5)
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCache(b, x)
		checkError(t, err)
		for i := range x.Len() {
			c.Saved(i)
			c.Received(i)
			if s := c.Sizes(i); s.Physical < mailbox.Unknown || s.Virtual < mailbox.Unknown {
				t.Fatal(s)
			}
		}
	})
}
