package index

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// What decodes encodes to the same, and errors have their type.
func FuzzCatalogRecords(f *testing.F) {
	for _, g := range []string{"0123456789abcdef0123456789abcdef", "any text", "0123456789ABCDEF0123456789ABCDEF", ""} {
		r := MapRecord{Place: Place{1, 16, 300}, Refs: 2, Received: time.Unix(1700000000, 0), Physical: -1, Virtual: 70, Stored: 200, GUID: g}
		f.Add(r.encode())
	}
	file := CatalogFile{ID: 1, End: 500, Created: time.Unix(5, 0), Alt: true, Messages: 4, Dead: 1, DeadBytes: 99}
	f.Add(file.encode())
	m := CatalogMessage{record(5, 77, "k"), 9}
	f.Add(m.encode())
	s := boxState{h: header{7, 8, 9}, recent: 3, messages: 2, bytes: 100}
	f.Add(s.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(what string, enc []byte, err error) {
			if err != nil {
				if !errors.Is(err, errRecord) {
					t.Errorf("%s: untyped error %v", what, err)
				}
				return
			}
			// Varints have longer forms, so that the second time is what counts.
			if len(enc) > len(b) {
				t.Errorf("%s: %x became %x", what, b, enc)
			}
		}
		r, err := decodeMap(1, b)
		enc := r.encode()
		check("map", enc, err)
		if again, aerr := decodeMap(1, enc); err == nil && (aerr != nil || again != r) {
			t.Errorf("map: %+v became %+v, %v", r, again, aerr)
		}
		fl, err := decodeFile(1, b)
		check("file", fl.encode(), err)
		msg, err := decodeMessage([]byte{0, 0, 0, 1}, b)
		check("message", msg.encode(), err)
		st, err := decodeBoxState(b)
		if check("state", st.encode(), err); err == nil && !bytes.Equal(st.encode(), b) {
			t.Errorf("state: %x became %x", b, st.encode())
		}
	})
}
