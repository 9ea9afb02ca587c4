package handover

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailcrypt/dovecotindex"
	"mailcrypt/internal/dovetest"
	"mailcrypt/mailbox"
	"mailcrypt/storage/mdbox"
)

// stateOf is everything that a store of ours says, one line a message, by mailbox.
func stateOf(t testing.TB, l mdbox.Location) map[string][]string {
	t.Helper()
	h := openStore(t, l)
	defer h.Close()
	list, err := h.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	state := map[string][]string{}
	for _, f := range list {
		if !f.Selectable {
			continue
		}
		m, err := h.OpenMailbox(t.Context(), f.Name)
		if err != nil {
			t.Fatal(err)
		}
		v, err := m.Sync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		lines := []string{fmt.Sprint(m.GUID(), v.UIDValidity, v.UIDNext)}
		for _, msg := range v.All() {
			stat, err := m.Stat(t.Context(), msg.UID)
			if err != nil {
				t.Fatal(err)
			}
			text, err := storedOf(t.Context(), m, msg.UID)
			if err != nil {
				t.Fatal(err)
			}
			flags := msg.Flags
			flags.System &^= mailbox.Recent
			names := flags.Names()
			slices.Sort(names)
			lines = append(lines, fmt.Sprint(msg.UID, names, msg.ModSeq, msg.GUID, stat.Received.Unix(), stat.Saved.Unix(), msg.Sizes.Virtual, len(text), text[:min(len(text), 40)]))
		}
		state[f.Name] = lines
		m.Close()
	}
	return state
}

func sameState(t testing.TB, what string, a, b map[string][]string) {
	t.Helper()
	for name := range maps.Keys(b) {
		if !slices.Equal(a[name], b[name]) {
			t.Errorf("%s: %s:\n%.2000s\nwant\n%.2000s", what, name, strings.Join(a[name], "\n"), strings.Join(b[name], "\n"))
		}
	}
	if len(a) != len(b) {
		t.Errorf("%s: %d mailboxes, want %d", what, len(a), len(b))
	}
}

// asDovecot is what real Dovecot says of a store, in the form of viewOf.
func asDovecot(d *dovetest.Dovecot) (lines []string) {
	for _, row := range d.Fetch("mailbox uid guid flags date.received date.saved size.virtual modseq", "mailbox", "*", "all") {
		f := strings.Split(row, "\t")
		flags := strings.Fields(f[3])
		flags = slices.DeleteFunc(flags, func(s string) bool { return s == `\Recent` })
		slices.Sort(flags)
		f[3] = strings.Join(flags, " ")
		lines = append(lines, strings.Join(f, "|"))
	}
	lines = append(lines, d.Doveadm("", "mailbox", "status", "guid uidvalidity uidnext", "*")[1:]...)
	slices.Sort(lines)
	return lines
}

// asOurs is the same of a store of ours.
func asOurs(t testing.TB, l mdbox.Location) (lines []string) {
	t.Helper()
	h := openStore(t, l)
	defer h.Close()
	list, err := h.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const form = "2006-01-02 15:04:05"
	for _, f := range list {
		if !f.Selectable {
			continue
		}
		m, err := h.OpenMailbox(t.Context(), f.Name)
		if err != nil {
			t.Fatal(err)
		}
		v, err := m.Sync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s\t%d\t%d\t%s", f.Name, v.UIDNext, v.UIDValidity, m.GUID()))
		for _, msg := range v.All() {
			stat, err := m.Stat(t.Context(), msg.UID)
			if err != nil {
				t.Fatal(err)
			}
			flags := msg.Flags
			flags.System &^= mailbox.Recent
			names := flags.Names()
			slices.Sort(names)
			lines = append(lines, fmt.Sprintf("%s|%d|%s|%s|%s|%s|%d|%d", f.Name, msg.UID, msg.GUID, strings.Join(names, " "),
				stat.Received.Local().Format(form), stat.Saved.Local().Format(form), msg.Sizes.Virtual, msg.ModSeq))
		}
		m.Close()
	}
	slices.Sort(lines)
	return lines
}

func sameLines(t testing.TB, what string, got, want []string) {
	t.Helper()
	for _, l := range got {
		if !slices.Contains(want, l) {
			t.Errorf("%s: has  %q", what, l)
		}
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			t.Errorf("%s: lacks %q", what, l)
		}
	}
}

// play changes a store of ours at random.
func play(t testing.TB, l mdbox.Location, r *rand.Rand) {
	t.Helper()
	ctx := t.Context()
	h := openStore(t, l)
	defer h.Close()
	for _, name := range []string{"Ours", "Ours/Zwölf"} {
		if err := h.Create(ctx, name); err != nil && !errors.Is(err, mailbox.ErrExists) {
			t.Fatal(err)
		}
	}
	if err := h.Subscribe(ctx, "Ours/Zwölf", true); err != nil {
		t.Fatal(err)
	}
	in, err := h.OpenMailbox(ctx, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	other, err := h.OpenMailbox(ctx, "Ours/Zwölf")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for n := range 30 {
		text := fmt.Sprintf("Subject: ours %d\n\n%s\n", n, strings.Repeat("y", r.IntN(3000)))
		p, err := in.Create(ctx, mailbox.SaveInfo{GUID: mailbox.NewGUID().String(), NeedUID: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		size := int64(len(text))
		if _, err := p.Commit(mailbox.Sizes{Physical: size, Virtual: size + int64(strings.Count(text, "\n")), Stored: size}); err != nil {
			t.Fatal(err)
		}
	}
	v, err := in.Sync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var gone []mailbox.UID
	for _, m := range v.All() {
		switch r.IntN(5) {
		case 0:
			gone = append(gone, m.UID)
		case 1:
			stat, err := in.Stat(ctx, m.UID)
			if err != nil {
				t.Fatal(err)
			}
			info := mailbox.SaveInfo{GUID: m.GUID, Received: stat.Received, Flags: mailbox.ParseFlags([]string{`\Flagged`, "copied"})}
			if _, err := other.Link(ctx, in, m.UID, info); err != nil {
				t.Fatal(err)
			}
		case 2:
			words := mailbox.ParseFlags([]string{`\Seen`, "word" + fmt.Sprint(r.IntN(4)), "$Label1"})
			if _, err := in.SetFlags(ctx, []mailbox.UID{m.UID}, mailbox.FlagChange{Op: mailbox.AddFlags, Flags: words}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := in.Expunge(ctx, gone); err != nil {
		t.Fatal(err)
	}
}

// dovecotPlays has real Dovecot change its store. Nothing of it may be worth a warning.
func dovecotPlays(d *dovetest.Dovecot, round int) {
	d.Output("", "mailbox", "create", "-s", fmt.Sprintf("Round %d/Ä", round))
	for i := range 8 {
		d.Doveadm(fmt.Sprintf("Subject: dovecot %d\r\n\r\n%s\r\n", i, strings.Repeat("x", 300*i)), "save", "-m", "INBOX")
	}
	d.Doveadm("", "copy", fmt.Sprintf("Round %d/Ä", round), "mailbox", "INBOX", "1:5")
	d.Doveadm("", "flags", "add", `\Answered dove$kw`, "mailbox", "INBOX", "2:4")
	d.Doveadm("", "expunge", "mailbox", "INBOX", "3:6")
	d.Doveadm("", "purge")
}

// TestRoundTrips: what real Dovecot writes is ours after an import, and what we write is
// Dovecot's after an export, again and again, without a repair or a warning on either side.
func TestRoundTrips(t *testing.T) {
	dovetest.Run(t, "mdbox:~/mdbox:ALT=~/alt", "", func(t *testing.T, d *dovetest.Dovecot) {
		l := mdbox.Location{Root: filepath.Join(d.Home, "mdbox"), Alt: filepath.Join(d.Home, "alt")}
		if err := os.Mkdir(l.Alt, 0o700); err != nil {
			t.Fatal(err)
		}
		d.Doveadm("", "mailbox", "create", "-s", "INBOX")
		r := rand.New(rand.NewPCG(1, 2))
		for round := range 3 {
			dovecotPlays(d, round)
			if round == 1 {
				d.Doveadm("", "altmove", "mailbox", "INBOX", "1:4")
			}
			want := asDovecot(d)
			imported, err := Import(t.Context(), Source{Location: l}, l, Options{Check: nothing})
			if err != nil || len(imported.Notes)+len(imported.Damaged)+len(imported.Found)+len(imported.Lost) > 0 {
				t.Fatal(imported, err)
			}
			sameLines(t, "imported", asOurs(t, l), want)
			play(t, l, r)
			ours := asOurs(t, l)
			exported, err := Export(t.Context(), l, "", Options{Check: nothing})
			if err != nil || exported.Aside == "" {
				t.Fatal(exported, err)
			}
			if _, err := mdbox.Open(t.Context(), l, mdbox.Options{}); !errors.Is(err, mdbox.ErrDovecot) {
				t.Fatalf("a store that was handed over is opened: %v", err)
			}
			sameLines(t, "exported", asDovecot(d), ours)
		}
		text := d.Doveadm("", "fetch", "text", "mailbox", "Ours/Zwölf", "1")
		if !strings.Contains(strings.Join(text, " "), "ubject: ") {
			t.Errorf("text: %q", text)
		}
		out := d.Output("", "mailbox", "list", "-s")
		if !strings.Contains(out, "Ours/Zwölf") || !strings.Contains(out, "Round 1/Ä") {
			t.Errorf("subscribed: %q", out)
		}
		rebuilt := filepath.Join(d.Home, "mdbox", "storage", "dovecot.map.index.log")
		x, err := dovecotindex.Read(context.Background(), strings.TrimSuffix(rebuilt, ".log"))
		if err != nil {
			t.Fatal(err)
		}
		if m, err := x.Map(); err != nil || m.RebuildCount != 0 {
			t.Errorf("Dovecot has rebuilt the map: %+v %v", m, err)
		}
	})
}

func nothing(s Stored) error {
	if s.Size() < 0 {
		return errors.New("negative")
	}
	return nil
}
