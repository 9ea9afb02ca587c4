package dcrypt

import (
	"bytes"
	"testing"
)

// A header that was made ahead is that of any stream, and what went wrong with it is never a
// stream that looks whole.
func TestPrepare(t *testing.T) {
	k := testKeys()[Prime256v1]
	for _, o := range []WriterOptions{{}, {Version: 1}, {Cipher: "aes-256-cbc", Digest: "sha512"}} {
		for _, n := range []int{0, 1, chunkSize, chunkSize + 1} {
			var out bytes.Buffer
			var told []byte
			o.KeyData = func(header, _ []byte) { told = bytes.Clone(header) }
			w, err := NewWriter(&out, k.Public(), o)
			if err != nil {
				t.Fatal(err)
			}
			w.Prepare()
			w.Prepare()
			plain := fill(9, n)
			if _, err := w.Write(plain); err != nil {
				t.Fatal(err)
			}
			w.Prepare()
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				if out.Len() > 0 || told != nil {
					t.Errorf("%+v: an empty message is %d octets", o, out.Len())
				}
				continue
			}
			if got, err := readStream(out.Bytes(), KeyList{k}); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%+v, %d octets: %v", o, n, err)
			}
			if w.head.Integrity == AEAD && !bytes.HasPrefix(out.Bytes(), told) || w.head.Integrity == AEAD && told == nil {
				t.Errorf("%+v, %d octets: told a header of %d octets", o, n, len(told))
			}
		}
	}
	for _, n := range []int{1, chunkSize + 1} {
		var out bytes.Buffer
		w, err := NewWriter(&out, &PublicKey{}, WriterOptions{}) // no key at all
		if err != nil {
			t.Fatal(err)
		}
		w.Prepare()
		_, werr := w.Write(fill(1, n))
		if n > chunkSize && werr == nil {
			t.Error("written without a header")
		}
		if err := w.Close(); err == nil || out.Len() > 0 {
			t.Errorf("closed without a header: %v, %d octets", err, out.Len())
		}
	}
}
