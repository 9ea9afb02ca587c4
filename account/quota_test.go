package account

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/quota"
	"mailcrypt/userdb"
)

// mail is a message of n bytes with CRLF line ends.
func mail(n int) string {
	return "Subject: x\r\n\r\n" + strings.Repeat("y", n-16) + "\r\n"
}

func trySave(m *Mailbox, text string, announced int64) error {
	a, err := m.Append(context.Background(), mailbox.SaveInfo{NeedUID: true, Announced: announced})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(a, text); err != nil {
		return errors.Join(err, a.Abort())
	}
	_, err = a.Commit()
	return err
}

func wantUsed(t *testing.T, l *Login, bytes, messages int64) {
	t.Helper()
	q, err := l.Quota(context.Background())
	if err != nil || q == nil {
		t.Fatalf("quota %v, %v", q, err)
	}
	if want := (quota.Usage{Bytes: bytes, Messages: messages}); q.Used != want {
		t.Errorf("used %+v, want %+v", q.Used, want)
	}
}

// over reports whether an error is that of an exceeded quota.
func over(err error) bool {
	var e *quota.Error
	return errors.As(err, &e) && errors.Is(err, quota.ErrExceeded)
}

func quotaUser(fields ...string) *userdb.User {
	return user("u", append([]string{"quota_rule=*:bytes=1000:messages=8", "quota_rule2=Trash:bytes=+500", "quota_rule3=Junk:ignore"}, fields...)...)
}

func TestQuotaAppend(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, "bolt:~/keys.db", 0)
	l := w.login(t, quotaUser(), "pw")
	in := open(t, l, "INBOX")
	wantUsed(t, l, 0, 0)
	for range 3 {
		if err := trySave(in, mail(300), 300); err != nil {
			t.Fatal(err)
		}
	}
	wantUsed(t, l, 900, 3)
	if err := trySave(in, mail(101), 101); !over(err) {
		t.Errorf("announced too large: %v", err)
	}
	if err := trySave(in, mail(101), 0); !over(err) {
		t.Errorf("found too large at the end: %v", err)
	}
	for _, info := range []mailbox.SaveInfo{{Announced: 60, Before: 60}, {Announced: math.MaxInt64, Before: 1 << 62}} {
		if _, err := in.Append(ctx, info); !over(err) {
			t.Errorf("%+v: %v", info, err)
		}
	}
	if n := len(stored(t, filepath.Join(w.dir, "u/Maildir"))); n != 3 {
		t.Errorf("%d files after a refusal", n)
	}
	left, _ := filepath.Glob(filepath.Join(w.dir, "u/Maildir/tmp/*"))
	for _, path := range left {
		if filepath.Ext(path) != ".lock" { // of the uidlist, for the next time
			t.Errorf("left behind: %s", path)
		}
	}
	wantUsed(t, l, 900, 3)
	if err := trySave(in, mail(100), 100); err != nil {
		t.Errorf("what fits exactly: %v", err)
	}
	if err := trySave(in, mail(20), 0); !over(err) {
		t.Errorf("a full mailbox: %v", err)
	}
	if err := l.Create(ctx, "Trash"); err != nil {
		t.Fatal(err)
	}
	trash := open(t, l, "Trash")
	if err := trySave(trash, mail(400), 400); err != nil {
		t.Errorf("Trash has a limit of its own: %v", err)
	}
	if err := trySave(trash, mail(101), 0); !over(err) {
		t.Errorf("beyond it: %v", err)
	}
	if err := l.Create(ctx, "Junk"); err != nil {
		t.Fatal(err)
	}
	junk := open(t, l, "Junk")
	if err := trySave(junk, mail(5000), 5000); err != nil {
		t.Errorf("an ignored mailbox: %v", err)
	}
	wantUsed(t, l, 1400, 5)
	if err := in.Expunge(ctx, []mailbox.UID{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	wantUsed(t, l, 500, 2)
	for range 6 {
		if err := trySave(in, mail(20), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := trySave(in, mail(20), 0); !over(err) {
		t.Errorf("a ninth message: %v", err)
	}
}

func TestQuotaCopy(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, "bolt:~/keys.db", 0)
	l := w.login(t, quotaUser(), "pw")
	in := open(t, l, "INBOX")
	for _, name := range []string{"A", "Trash", "Junk"} {
		if err := l.Create(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		save(t, in, mail(300))
	}
	if _, err := in.Copy(ctx, []mailbox.UID{1, 2}, "A"); !over(err) {
		t.Errorf("copying two: %v", err)
	}
	if n := open(t, l, "A").View().Len(); n != 0 {
		t.Errorf("%d messages were copied", n)
	}
	if _, err := in.Copy(ctx, []mailbox.UID{1}, "A"); err != nil {
		t.Errorf("copying one: %v", err)
	}
	wantUsed(t, l, 900, 3)
	if _, err := in.Copy(ctx, []mailbox.UID{1, 2}, "Junk"); err != nil {
		t.Errorf("copying to an ignored mailbox: %v", err)
	}
	if _, err := in.Copy(ctx, []mailbox.UID{1}, "Trash"); err != nil {
		t.Errorf("copying to Trash: %v", err)
	}
	wantUsed(t, l, 1200, 4)
	// Above the limit, moving is all that helps.
	if _, err := in.Move(ctx, []mailbox.UID{1, 2}, "A"); err != nil {
		t.Errorf("moving: %v", err)
	}
	wantUsed(t, l, 1200, 4)
	junk := open(t, l, "Junk")
	if _, err := junk.Move(ctx, []mailbox.UID{1}, "A"); !over(err) {
		t.Errorf("moving what did not count: %v", err)
	}
	if junk.View().Len() != 2 {
		t.Error("a refused move has taken the message away")
	}
	if p := l.account.ledger.pending; p != (quota.Usage{}) {
		t.Errorf("%+v is still pending", p)
	}
}

func TestQuotaDelivery(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, "bolt:~/keys.db", 0)
	u := quotaUser("quota_grace=50", "quota_full_tempfail=yes", "quota_exceeded_message=No room.")
	l := w.login(t, u, "pw")
	if err := w.deliver(t, u, mail(960)); err != nil {
		t.Fatal(err)
	}
	d, err := w.Deliver(ctx, u)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for size, want := range map[int64]bool{0: false, 40: false, 90: false, 91: true, 5000: true} {
		if err := d.Fits(ctx, "INBOX", size); over(err) != want {
			t.Errorf("Fits %d: %v", size, err)
		}
	}
	if err := d.Fits(ctx, "Trash", 500); err != nil {
		t.Errorf("Trash: %v", err)
	}
	if _, err := d.Append(ctx, "INBOX", mailbox.SaveInfo{Announced: 91}); !over(err) {
		t.Errorf("announced: %v", err)
	}
	if err := w.deliver(t, u, mail(91)); !over(err) {
		t.Errorf("beyond the grace: %v", err)
	}
	if err := w.deliver(t, u, mail(90)); err != nil {
		t.Errorf("within the grace: %v", err)
	}
	wantUsed(t, l, 1050, 2)
	err = w.deliver(t, u, mail(20))
	var e *quota.Error
	if !errors.As(err, &e) || e.Text != "No room." || !e.Temporary {
		t.Errorf("beyond the limit: %v", err)
	}
	if err := d.Fits(ctx, "inbox", 0); !over(err) {
		t.Errorf("whether anything fits: %v", err)
	}
}

// Deliveries by others count, and so do files without sizes.
func TestQuotaForeign(t *testing.T) {
	w := newWorld(t, "bolt:~/keys.db", 0)
	l := w.login(t, quotaUser(), "pw")
	in := open(t, l, "INBOX")
	if err := os.WriteFile(filepath.Join(w.dir, "u/Maildir/new/1.other"), []byte(strings.Repeat("x", 990)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := trySave(in, mail(20), 20); !over(err) {
		t.Errorf("with a foreign file: %v", err)
	}
	wantUsed(t, l, 990, 1)
}

func TestQuotaMaxMailSize(t *testing.T) {
	w := newWorld(t, "bolt:~/keys.db", 0)
	u := user("u", "quota_max_mail_size=100")
	l := w.login(t, u, "pw")
	if q, err := l.Quota(context.Background()); q != nil || err != nil {
		t.Errorf("a quota is shown: %+v, %v", q, err)
	}
	if n := l.AppendLimit(); n != 100 {
		t.Errorf("APPENDLIMIT %d", n)
	}
	for _, announced := range []int64{0, 101} {
		if err := trySave(open(t, l, "INBOX"), mail(101), announced); !errors.Is(err, mailbox.ErrTooLarge) {
			t.Errorf("announced %d: %v, want ErrTooLarge", announced, err)
		}
	}
	if err := w.deliver(t, u, mail(101)); !errors.Is(err, mailbox.ErrTooLarge) {
		t.Errorf("delivered: %v, want ErrTooLarge", err)
	}
	if err := w.deliver(t, u, mail(100)); err != nil {
		t.Error(err)
	}
	d, err := w.Deliver(context.Background(), u)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Fits(context.Background(), "INBOX", 101); !errors.Is(err, mailbox.ErrTooLarge) {
		t.Errorf("Fits: %v, want ErrTooLarge", err)
	}
}

// Many who save at once get the room that there is, all of it and no more.
func TestQuotaConcurrent(t *testing.T) {
	w := newWorld(t, "bolt:~/keys.db", 0)
	u := quotaUser("quota_rule=*:messages=10", "quota_grace=0")
	l := w.login(t, u, "pw")
	in := open(t, l, "INBOX")
	var wg sync.WaitGroup
	var mu sync.Mutex
	saved := 0
	for i := range 20 {
		wg.Go(func() {
			var err error
			if i%2 == 0 {
				err = trySave(in, mail(50), 0)
			} else {
				err = w.deliver(t, u, mail(50))
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				saved++
			case !over(err):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if saved != 10 {
		t.Errorf("%d messages were saved, want 10", saved)
	}
	wantUsed(t, l, 500, 10)
	if p := l.account.ledger.pending; p != (quota.Usage{}) {
		t.Errorf("%+v is still pending", p)
	}
}

// What only pending mail keeps out waits for that.
func TestQuotaWaits(t *testing.T) {
	w := newWorld(t, "bolt:~/keys.db", 0)
	l := w.login(t, quotaUser(), "pw")
	room, err := l.purse().admit(t.Context(), "INBOX", quota.Usage{Bytes: 900, Messages: 1})
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error)
	in := open(t, l, "INBOX")
	go func() { result <- trySave(in, mail(200), 200) }()
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := l.purse().admit(short, "INBOX", quota.Usage{Bytes: 200, Messages: 1}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the room is taken: %v", err)
	}
	select {
	case err := <-result:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	room.done()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestQuotaSettings(t *testing.T) {
	d := defaults("/home", "")
	d.Quota = map[string]string{"quota_rule": "*:bytes=1000", "quota_rule2": "Trash:bytes=+10%"}
	s, err := Resolve(d, user("u"), nil)
	if err != nil || s.Quota.For("Trash").Bytes != 1100 {
		t.Fatalf("%+v, %v", s.Quota, err)
	}
	s, err = Resolve(d, user("u", "quota_rule=*:bytes=2000"), nil)
	if err != nil || s.Quota.For("Trash").Bytes != 2200 {
		t.Errorf("the user's rule: %+v, %v", s.Quota, err)
	}
	s, err = Resolve(d, user("u", "quota="), nil)
	if err != nil || s.Quota != nil {
		t.Errorf("turned off: %+v, %v", s.Quota, err)
	}
	if _, err := Resolve(d, user("u", "quota_rule=all you want"), nil); !errors.Is(err, ErrSettings) || !strings.Contains(fmt.Sprint(err), "quota_rule") {
		t.Errorf("a bad rule: %v", err)
	}
}
