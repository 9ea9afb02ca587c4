package dcrypt

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// live runs Dovecot's own encrypting file-system wrapper in a scratch folder.
type live struct {
	t       *testing.T
	doveadm string
	dir     string
}

// newLive skips the test where doveadm or its crypt module is missing.
func newLive(t *testing.T) live {
	t.Helper()
	doveadm, err := exec.LookPath("doveadm")
	if err != nil {
		t.Skip("doveadm is not installed: Dovecot itself cannot be asked")
	}
	if testing.Short() {
		t.Skip("starts doveadm many times")
	}
	l := live{t, doveadm, t.TempDir()}
	l.write("dovecot.conf", []byte("ssl = no\nlog_path = /dev/stderr\n"))
	l.write("plain", []byte("x"))
	if out, err := l.run("put", "posix:prefix="+l.path("probe-"), l.path("plain"), "a"); err != nil {
		t.Skipf("doveadm fs does not work here: %v: %s", err, out)
	}
	return l
}

func (l live) path(name string) string { return filepath.Join(l.dir, name) }

func (l live) write(name string, b []byte) {
	l.t.Helper()
	if err := os.WriteFile(l.path(name), b, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// run calls doveadm fs <verb>. The first argument is that of the crypt wrapper, unless
// it names another driver.
func (l live) run(verb, args string, rest ...string) ([]byte, error) {
	argv := append([]string{"-c", l.path("dovecot.conf"), "fs", verb, "crypt", args}, rest...)
	cmd := exec.CommandContext(l.t.Context(), l.doveadm, argv...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	return out, nil
}

// TestDovecotReadsOurs has doveadm read streams of ours with key texts of ours.
func TestDovecotReadsOurs(t *testing.T) {
	l := newLive(t)
	read := func(name string, stream []byte, key, args string, want []byte) {
		t.Helper()
		l.write("s", stream)
		l.write("key", []byte(key))
		got, err := l.run("get", "private_key_path="+l.path("key")+":"+args+"posix:prefix="+l.dir+"/", "s")
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d of %d octets, %v", name, len(got), len(want), err)
		}
	}
	k := testKeys()[Prime256v1]
	for _, c := range ciphers {
		if c.oid == nil || c.mode == modeChaCha { // chacha20-poly1305 needs 2.4
			continue
		}
		for _, d := range []string{"md5", "sha1", "sha256", "sha384", "sha512", "sha3-256", "sha3-512"} {
			plain := fill(7, 1+len(c.name)*len(d)) // odd sizes
			read(c.name+"-"+d, encrypt(t, k.Public(), WriterOptions{Cipher: c.name, Digest: d}, plain, 50), string(k.Text()), "", plain)
		}
	}
	big := fill(8, 300_001)
	for _, c := range curves {
		if c.raw { // 2.4 only
			continue
		}
		k := testKeys()[c.curve]
		for _, o := range []WriterOptions{{}, {Version: 1}, {Rounds: 2048, Cipher: "aes-256-cbc"}} {
			read(fmt.Sprintf("%s %+v", c.curve, o), encrypt(t, k.Public(), o, big, 9999), string(k.PEM()), "", big)
		}
	}
	r := testRSA()
	read("RSA", encrypt(t, r.Public(), WriterOptions{}, big, 100), string(r.PEM()), "", big)

	// Seals, as the default and as Dovecot writes them.
	stream := encrypt(t, k.Public(), WriterOptions{}, big, 1000)
	for _, o := range []SealOptions{{}, {Hash: "sha256", Rounds: 2048, SaltLen: 8}, {Cipher: "aes-256-cbc"}, {Cipher: "aes-128-ctr", Hash: "sha1", SaltLen: 16}} {
		text, err := SealPassword(k, []byte("secret"), o)
		if err != nil {
			t.Fatal(err)
		}
		read(fmt.Sprintf("seal %+v", o), stream, string(text), "password=secret:", big)
	}
}

// TestWeReadDovecots has doveadm write streams to public keys of ours.
func TestWeReadDovecots(t *testing.T) {
	l := newLive(t)
	keys := KeyList{testKeys()[Prime256v1], testKeys()[Secp521r1], testKeys()[Secp256k1], testKeys()[BrainpoolP384r1], testKeys()[Secp224r1], testRSA()}
	n := 0
	for i, k := range keys {
		for j, algo := range []string{"aes-256-gcm-sha256", "aes-128-gcm-sha512", "aes-192-gcm-sha384", "aes-256-cbc-sha512",
			"aes-128-cbc-sha1", "aes-192-cbc-md5", "aes-256-cfb-sha256", "aes-192-cfb-sha1", "aes-128-cfb-md5"} {
			if i > 0 && j%4 != 0 {
				continue
			}
			plain := fill(byte(j), 1000*j+i+1)
			l.write("plain", plain)
			text := []byte(k.Public().Text())
			if j%2 == 1 {
				text = k.Public().PEM()
			}
			l.write("pub", text)
			if _, err := l.run("put", "algo="+algo+":public_key_path="+l.path("pub")+":posix:prefix="+l.dir+"/", l.path("plain"), "s"); err != nil {
				t.Errorf("%v %s: %v", k, algo, err)
				continue
			}
			b, err := os.ReadFile(l.path("s"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := readStream(b, keys)
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%v %s: %d of %d octets, %v", k, algo, len(got), len(plain), err)
			}
			n++
		}
	}
	if n == 0 {
		t.Error("nothing was compared")
	}
}
