package acceptance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"mailcrypt/admin"
	"mailcrypt/userdb"
)

// loadAdmin changes users and their keys in every way that there is: over the socket, with
// the tool, and with the login hash changed by another program.
type loadAdmin struct {
	d     *daemon
	s     admin.Service
	users *userdb.PasswdFile // another program's view of the passwd-file
}

// tool runs doveadm-crypt and wants it to succeed.
func (l *loadAdmin) tool(stdin string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(bin, "doveadm-crypt"), append([]string{"-c", l.d.config}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("doveadm-crypt %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func loginSecret(p string) *admin.Password { return &admin.Password{Secret: []byte(p), Login: true} }

var tokenLine = regexp.MustCompile(`(?m)^token: (\S+)$`)

// change makes the n-th change of a user.
func (l *loadAdmin) change(u *loadUser, n int) error {
	ctx := context.Background()
	next := fmt.Sprintf("%s-pw%d", u.name, n)
	now, _, _ := u.passwords()
	switch n % 10 {
	case 0: // the tool
		return u.change(next, func(now string) error {
			_, err := l.tool(now+"\n"+next+"\n", "user", "password", "-u", u.name, "-s", "SHA256")
			return err
		})
	case 1, 7: // the API; old seals are kept, and forgotten
		keep := int64(n % 2 * 60)
		err := u.change(next, func(now string) error {
			_, err := l.s.SetPassword(ctx, admin.SetPasswordRequest{User: u.name, Old: []byte(now), New: []byte(next), Scheme: "SHA256", KeepOld: keep})
			return err
		})
		if _, undo := l.s.UndoReseal(ctx, admin.UndoResealRequest{User: u.name, Forget: true}); undo != nil && !errors.Is(undo, admin.ErrNoKey) {
			err = errors.Join(err, undo)
		}
		return err
	case 2: // two phases by the tool, around another program that keeps the hash
		return u.change(next, func(now string) error {
			out, err := l.tool(now+"\n"+next+"\n", "cryptokey", "password", "-u", u.name, "--prepare", "--all")
			if err != nil {
				return err
			}
			token := tokenLine.FindStringSubmatch(out)
			if token == nil {
				return fmt.Errorf("no token: %s", out)
			}
			if err := l.storeHash(ctx, u, next); err != nil {
				return err
			}
			_, err = l.tool("", "cryptokey", "commit", "-u", u.name, token[1])
			return err
		})
	case 3: // two phases by the API; the first attempt is given up
		if err := l.twoPhases(ctx, u, now, "given-up", false); err != nil {
			return err
		}
		return u.change(next, func(now string) error { return l.twoPhases(ctx, u, now, next, true) })
	case 4: // a new seal by the same secret
		_, err := l.s.Reseal(ctx, admin.ResealRequest{User: u.name, Old: []admin.Password{*loginSecret(now)}, New: loginSecret(now), All: true})
		return err
	case 5:
		_, err := l.tool(now+"\n"+now+"\n", "cryptokey", "password", "-u", u.name)
		return err
	case 6: // a new user key, though not so many that each change takes ever longer
		if n > 40 {
			return nil
		}
		_, err := l.s.Generate(ctx, admin.GenerateRequest{User: u.name, UserKey: true, Force: true, Password: loginSecret(now), Rewrap: true})
		return err
	case 8:
		_, err := l.tool(now+"\n", "cryptokey", "generate", "-u", u.name, "--force", "INBOX")
		return err
	}
	r, err := l.s.Check(ctx, admin.CheckRequest{User: u.name, Secrets: []admin.Password{*loginSecret(now)}})
	if err == nil && !r.Healthy {
		err = fmt.Errorf("check of %s: %+v", u.name, r)
	}
	return err
}

// storeHash is the other program.
func (l *loadAdmin) storeHash(ctx context.Context, u *loadUser, password string) error {
	hash, err := userdb.HashPassword("SHA256", []byte(password))
	if err != nil {
		return err
	}
	return l.users.SetPassword(ctx, u.name, hash)
}

func (l *loadAdmin) twoPhases(ctx context.Context, u *loadUser, now, next string, commit bool) error {
	r, err := l.s.Reseal(ctx, admin.ResealRequest{User: u.name, Old: []admin.Password{*loginSecret(now)}, New: loginSecret(next), PrepareOnly: true, All: true})
	if err != nil {
		return err
	}
	if commit {
		if err := l.storeHash(ctx, u, next); err != nil {
			return err
		}
	}
	_, err = l.s.EndReseal(ctx, admin.EndResealRequest{User: u.name, Token: r.Token, Commit: commit})
	return err
}

// beside is what an administrator does to a user whose password somebody changes.
func (l *loadAdmin) beside(u *loadUser, n int) error {
	ctx := context.Background()
	now, next, _ := u.passwords()
	secrets := []admin.Password{*loginSecret(now)}
	if next != "" {
		secrets = append(secrets, *loginSecret(next))
	}
	var err error
	switch n % 4 {
	case 0:
		_, err = l.s.List(ctx, admin.ListRequest{User: u.name, Count: rand.IntN(8) == 0})
	case 1:
		_, err = l.tool("", "mailbox", "cryptokey", "list", "-u", u.name, "*")
	case 2:
		_, err = l.s.Rewrap(ctx, admin.RewrapRequest{User: u.name, Secrets: secrets})
		if _, _, c := u.passwords(); errors.Is(err, admin.ErrPassword) && c > 0 {
			err = nil // the password was changed, perhaps twice, before it was this one's turn
		}
	case 3:
		_, err = l.s.Generate(ctx, admin.GenerateRequest{User: u.name, Folders: []string{"F1*"}, Force: true})
	}
	return err
}
