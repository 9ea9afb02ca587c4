package userdb

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// recorded returns the hashes of "secret" that Dovecot made.
func recorded(t testing.TB) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/doveadm-pw.txt")
	if err != nil {
		t.Fatal(err)
	}
	var hashes []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && line[0] != '#' {
			hashes = append(hashes, line)
		}
	}
	if len(hashes) < 40 {
		t.Fatalf("only %d recorded hashes", len(hashes))
	}
	return hashes
}

func TestVerifyRecorded(t *testing.T) {
	for _, hash := range recorded(t) {
		t.Run(hash, func(t *testing.T) {
			t.Parallel()
			if err := Verify("joe@ex.org", hash, []byte("secret")); err != nil {
				t.Errorf("right password: %v", err)
			}
			for _, wrong := range []string{"", "Secret", "secret\x00"} {
				if err := Verify("joe@ex.org", hash, []byte(wrong)); !errors.Is(err, ErrPassword) {
					t.Errorf("password %q: %v, want ErrPassword", wrong, err)
				}
			}
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, hash string
		want       error
	}{
		{"unknown scheme", "{NOPE}x", ErrScheme},
		{"scheme without end", "{PLAIN", ErrHash},
		{"unknown encoding", "{PLAIN.B65}x", ErrScheme},
		{"DES", "J.f3kMFP3t1Ec", ErrScheme},
		{"plain without a scheme", "secret", ErrScheme},
		{"empty", "", ErrScheme},
		{"unknown crypt", "$9$abc$def", ErrScheme},
		{"bad hex", "{PLAIN.HEX}7x", ErrHash},
		{"bad base64", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ", ErrHash},
		{"short digest", "{SHA}5en6", ErrHash},
		{"SSHA in hex", "{SSHA}1a6f7335c1837a1e005f2e1e90be43c70ed4fceeef5a6d49", ErrPassword},
		{"no salt", "{SMD5}eP856EuO8XxrvA1YDjpnhw==", ErrHash},
		{"bcrypt cost", "$2y$31$ALbZPHQqg5lBanLkmIb07.PNON7KJIbYozeVp1q.LR/XYuYFy1y5W", ErrScheme},
		{"bcrypt cut", "$2y$05$ALbZPHQqg5lBanLkmIb07", ErrHash},
		{"SHA-CRYPT rounds", "$6$rounds=999999999$abc$def", ErrScheme},
		{"SHA-CRYPT bad rounds", "$6$rounds=x$abc$def", ErrHash},
		{"SHA-CRYPT few rounds", "$5$rounds=500$abcdefgh$ndgiWIsUJinpb9mECdgAeF/vdxqQ3NGidua0XyTj9p.", ErrHash},
		{"SHA-CRYPT fields", "$6$abc", ErrHash},
		{"MD5-CRYPT fields", "{MD5-CRYPT}$1$abc", ErrHash},
		{"argon2 memory", "{ARGON2ID}$argon2id$v=19$m=4294967295,t=1,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAA", ErrScheme},
		{"argon2 passes", "{ARGON2ID}$argon2id$v=19$m=65536,t=4294967295,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAA", ErrScheme},
		{"argon2 lanes", "{ARGON2ID}$argon2id$v=19$m=65536,t=1,p=255$AAAA$AAAAAAAAAAAAAAAAAAAAAA", ErrScheme},
		{"argon2 zero", "{ARGON2ID}$argon2id$v=19$m=0,t=0,p=0$AAAA$AAAAAAAAAAAAAAAAAAAAAA", ErrHash},
		{"argon2 empty key", "{ARGON2ID}$argon2id$v=19$m=64,t=1,p=1$AAAA$", ErrHash},
		{"argon2d", "{ARGON2ID}$argon2d$v=19$m=64,t=1,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAA", ErrScheme},
		{"argon2 version", "{ARGON2ID}$argon2id$v=16$m=64,t=1,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAA", ErrHash},
		{"PBKDF2 rounds", "{PBKDF2}$1$4N2cENu6zQml/QZH$999999999$df8bca2ff31ce387f358f88f4ec107327c726cd9", ErrScheme},
		{"PBKDF2 key", "{PBKDF2}$1$4N2cENu6zQml/QZH$5000$df8b", ErrHash},
		{"SCRAM rounds", "{SCRAM-SHA-1}99999999,4ii5Yp0yc7m3TIceJ/gSkw==,j5aTk3LyMnOOkcifTGByKY2/r9I=,Qvwicj/P/c3vRS2AGgem+VZpqxo=", ErrScheme},
		{"SCRAM fields", "{SCRAM-SHA-256}4096,4ii5", ErrHash},
		{"yescrypt memory", "$y$jZZ$F5Jx5fExrKuPp53xLKQ..1$Xj", ErrScheme},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Verify("u", tt.hash, []byte("secret"))
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if err != nil && len(tt.hash) > 40 && strings.Contains(err.Error(), tt.hash[20:]) {
				t.Errorf("the error quotes the hash: %v", err)
			}
		})
	}
}

// hashable are the schemes that HashPassword makes, cheap rounds where they take any.
var hashable = map[string]int{
	"PLAIN": 0, "CLEARTEXT": 0, "CRYPT": 4, "BLF-CRYPT": 4, "SHA256-CRYPT": 1000, "SHA512-CRYPT": 1000,
	"MD5-CRYPT": 0, "ARGON2I": 0, "ARGON2ID": 0, "PBKDF2": 1000, "SHA": 0, "SHA1": 0, "SHA256": 0, "SHA512": 0,
	"SSHA": 0, "SSHA256": 0, "SSHA512": 0, "SMD5": 0, "PLAIN-MD5": 0, "LDAP-MD5": 0, "CRAM-MD5": 0, "DIGEST-MD5": 0,
	"SCRAM-SHA-1": 4096, "SCRAM-SHA-256": 4096, "SSHA.HEX": 0, "sha256.b64": 0, "": 0, "PLAIN.b64": 0,
}

func TestHashPassword(t *testing.T) {
	for name, rounds := range hashable {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, password := range []string{"", "pässwörd" + strings.Repeat("x", 60)} {
				hash, err := HashPassword(name, []byte(password), HashOptions{Rounds: rounds, User: "joe@ex.org"})
				if err != nil {
					t.Fatal(err)
				}
				if err := Verify("joe@ex.org", hash, []byte(password)); err != nil {
					t.Errorf("%q: %v", password, err)
				}
				if err := Verify("joe@ex.org", hash, []byte(password+"x")); !errors.Is(err, ErrPassword) {
					t.Errorf("%q and a wrong password: %v", password, err)
				}
			}
		})
	}
	for _, tt := range []struct {
		scheme, password string
		rounds           int
	}{
		{"NOPE", "x", 0}, {"MD5", "x", 0}, {"PLAIN.XYZ", "x", 0}, {"PLAIN", "a:b", 0}, {"PLAIN", "a\nb", 0},
		{"SHA512-CRYPT", "a\x00b", 0}, {"SHA512-CRYPT", "x", 1e9}, {"BLF-CRYPT", "x", 31}, {"ARGON2ID", "x", 1000},
		{"BLF-CRYPT", strings.Repeat("x", 73), 4},
	} {
		if hash, err := HashPassword(tt.scheme, []byte(tt.password), HashOptions{Rounds: tt.rounds}); err == nil {
			t.Errorf("HashPassword(%q, %q, %d) = %q, want an error", tt.scheme, tt.password, tt.rounds, hash)
		}
	}
}

// Dovecot accepts what we hash, and we what it hashes.
func TestPasswordsWithDovecot(t *testing.T) {
	if _, err := exec.LookPath("doveadm"); err != nil {
		t.Skip("doveadm is not installed")
	}
	pw := func(args ...string) (string, error) {
		out, err := exec.Command("doveadm", append([]string{"pw", "-p", "tr0ub4dor&3", "-u", "joe@ex.org"}, args...)...).CombinedOutput()
		return strings.TrimSuffix(string(out), "\n"), err
	}
	if out, err := pw("-s", "PLAIN"); err != nil {
		t.Skipf("doveadm does not run here: %v %s", err, out)
	}
	for name, rounds := range hashable {
		if name == "" {
			name = DefaultScheme
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, err := HashPassword(name, []byte("tr0ub4dor&3"), HashOptions{Rounds: rounds, User: "joe@ex.org"})
			if err != nil {
				t.Fatal(err)
			}
			if out, err := pw("-t", ours); err != nil || !strings.Contains(out, "(verified)") {
				t.Errorf("doveadm pw -t %s: %v %s", ours, err, out)
			}
			theirs, err := pw("-s", name)
			if err != nil {
				t.Fatalf("doveadm pw -s %s: %v", name, err)
			}
			if err := Verify("joe@ex.org", theirs, []byte("tr0ub4dor&3")); err != nil {
				t.Errorf("Verify(%s): %v", theirs, err)
			}
		})
	}
}
