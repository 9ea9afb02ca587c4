package keys

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"mailcrypt/attrdict"
)

// A meanwhileDict lets something happen after the first View, which is where a login reads the
// keys.
type meanwhileDict struct {
	attrdict.Dict
	do func()
}

func (d *meanwhileDict) View(ctx context.Context, fn func(attrdict.Reader) error) error {
	err := d.Dict.View(ctx, fn)
	if do := d.do; do != nil {
		d.do = nil
		do()
	}
	return err
}

// TestLoginWhileKeysChange changes keys after a login has read them and before it mends what
// it finds wrong: it must not take a change for damage.
func TestLoginWhileKeysChange(t *testing.T) {
	ctx := context.Background()
	for _, tt := range []struct {
		name  string
		do    func(k *Keys) error
		after string // the password that opens the keys then
	}{
		{"a new user key", func(k *Keys) error {
			_, err := k.GenerateUserKey(ctx, password("pw"), true)
			return err
		}, "pw"},
		{"a new password", func(k *Keys) error {
			_, err := k.Reseal(ctx, []Secret{password("pw")}, Seal{Password: password("new")})
			return err
		}, "new"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := openDict(t)
			c := config(Config{})
			unlock(t, New(d, inbox, c, nil), password("pw"))
			c.Seal.Rounds = 3 // so that the login wants to raise the seal
			var log bytes.Buffer
			was := value(t, d, userLevel(inbox).active())
			var active string
			hook := &meanwhileDict{Dict: d, do: func() {
				if err := tt.do(New(d, inbox, c, nil)); err != nil {
					t.Fatal(err)
				}
				active = value(t, d, userLevel(inbox).active())
			}}
			unlock(t, New(hook, inbox, c, slog.New(slog.NewTextHandler(&log, nil))), password("pw"))
			if strings.Contains(log.String(), "WARN") {
				t.Errorf("the log says: %s", log.String())
			}
			if now := value(t, d, userLevel(inbox).active()); now != active || active == "" {
				t.Errorf("%s is active, want %s, after %s", now, active, was)
			}
			if count(t, d, func(st *Stored) bool { return st.Lost }) != 0 || value(t, d, userLevel(inbox).quarantine(active)) != "" {
				t.Error("the new key was displaced")
			}
			if r := unlock(t, New(d, inbox, c, nil), password(tt.after)); r.State().Locked() || !r.Fresh(ctx) {
				t.Errorf("%+v", r.State())
			}
		})
	}
}
