package compress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os/exec"
	"testing"
)

// TestXZDictionary gives the block header a dictionary size that would be allocated.
func TestXZDictionary(t *testing.T) {
	in := readFile(t, "testdata/small.xz")
	for _, tt := range []struct {
		code byte
		err  error
	}{
		{28, nil},         // 64 MiB, xz -9
		{29, ErrTooLarge}, // 96 MiB
		{40, ErrTooLarge}, // 4 GiB - 1
		{41, ErrCorrupt},
	} {
		bad := bytes.Clone(in)
		head := bad[12 : 12+4*(int(bad[12])+1)]
		i := bytes.IndexByte(head, 0x21)
		head[i+2] = tt.code
		binary.LittleEndian.PutUint32(head[len(head)-4:], crc32.ChecksumIEEE(head[:len(head)-4]))
		if _, err := decode(XZ, bad, testLimit); !errors.Is(err, tt.err) {
			t.Errorf("dictionary size code %d: %v, want %v", tt.code, err, tt.err)
		}
	}
}

// TestXZChecks reads what the xz program makes with each check.
func TestXZChecks(t *testing.T) {
	xz, err := exec.LookPath("xz")
	if err != nil {
		t.Skip("no xz program")
	}
	for _, text := range [][]byte{nil, readFile(t, "testdata/small.eml"), random(200_000)} {
		for _, check := range []string{"none", "crc32", "crc64", "sha256"} {
			for _, more := range []string{"-0", "-6", "--block-size=50000"} {
				cmd := exec.Command(xz, "-c", "--check="+check, more)
				cmd.Stdin = bytes.NewReader(text)
				in, err := cmd.Output()
				if err != nil {
					t.Fatal(err)
				}
				z := mustReader(t, bytes.NewReader(in), XZ, testLimit)
				var got bytes.Buffer
				if _, err := got.ReadFrom(z); err != nil || !bytes.Equal(got.Bytes(), text) {
					t.Errorf("%s %s: %d of %d bytes, %v", check, more, got.Len(), len(text), err)
				}
				if z.Verified() != (check != "none") {
					t.Errorf("%s: Verified = %v", check, z.Verified())
				}
				z.Close()
			}
		}
	}
}

// TestPrograms has the system's own programs read what is written here.
func TestPrograms(t *testing.T) {
	programs := map[Method]string{Gzip: "gzip", Bzip2: "bzip2", Zstd: "zstd"}
	texts := [][]byte{nil, []byte("x"), readFile(t, "testdata/small.eml"), random(1_000_000), bytes.Repeat([]byte("text\n"), 300_000)}
	for m, name := range programs {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Logf("no %s program", name)
			continue
		}
		for _, text := range texts {
			cmd := exec.Command(path, "-dc")
			cmd.Stdin = bytes.NewReader(encode(t, m, Default, text))
			got, err := cmd.Output()
			if err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s read %d of %d bytes, %v", name, len(got), len(text), err)
			}
		}
	}
}
