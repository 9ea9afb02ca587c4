package dcrypt

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// A keeper counts what it is asked for.
type keeper struct {
	KeyList
	kept  map[string][]byte
	asked int // for private keys
}

func (k *keeper) PrivateKey(id KeyID) (*PrivateKey, error) {
	k.asked++
	return k.KeyList.PrivateKey(id)
}

func (k *keeper) KeyData(header []byte) []byte { return bytes.Clone(k.kept[string(header)]) }

func (k *keeper) PutKeyData(header []byte, _ KeyID, kd []byte) {
	k.kept[string(header)] = bytes.Clone(kd)
}

// TestKeyDataKeeper: a stream whose key data are kept opens without the private key, and
// wrong key data cost a second look and nothing else.
func TestKeyDataKeeper(t *testing.T) {
	key, err := GenerateKey(Prime256v1)
	if err != nil {
		t.Fatal(err)
	}
	for size, largest := range map[int]int64{1: smallBody, 5000: smallBody, smallBody - 1000: smallBody,
		smallBody + 100_000: smallBody, 3<<20 + 5: largestStream} {
		text := bytes.Repeat([]byte("mail"), size)[:size]
		k := &keeper{KeyList: KeyList{key}, kept: map[string][]byte{}}
		var stream bytes.Buffer
		w, err := NewWriter(&stream, key.Public(), WriterOptions{KeyData: func(h, kd []byte) { k.PutKeyData(h, key.ID(), kd) }})
		if err != nil {
			t.Fatal(err)
		}
		w.Write(text)
		if err := w.Close(); err != nil || len(k.kept) != 1 {
			t.Fatalf("%d kept: %v", len(k.kept), err)
		}
		check := func(what string, asked int) {
			t.Helper()
			k.asked = 0
			r, err := open(bytes.NewReader(stream.Bytes()), int64(stream.Len()), k, largest)
			if err != nil {
				t.Fatalf("%d octets, %s: %v", size, what, err)
			}
			defer r.Close()
			got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
			if err != nil || !bytes.Equal(got, text) {
				t.Errorf("%d octets, %s: %d octets, %v", size, what, len(got), err)
			}
			if k.asked != asked {
				t.Errorf("%d octets, %s: asked %d times for the private key", size, what, k.asked)
			}
		}
		check("kept by the writer", 0)
		var head string
		for head = range k.kept {
			k.kept[head][0] ^= 1
		}
		check("wrong key data", 1)
		check("put right", 0)
		k.kept[head] = k.kept[head][1:]
		check("short key data", 1)
		clear(k.kept)
		check("nothing kept", 1)
		check("kept by the reader", 0)

		b := stream.Bytes()
		b[len(b)-1] ^= 1
		if _, err := open(bytes.NewReader(b), int64(len(b)), k, largest); !errors.Is(err, ErrAuth) {
			t.Errorf("%d octets, damaged: %v", size, err)
		}
	}
}
