package storagetest

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"mailcrypt/mailbox"
	"mailcrypt/storage"
)

// level joins names with the hierarchy's separator.
func (s *suite) level(parts ...string) string { return mailbox.JoinName(parts, s.h.Separator()) }

// folders returns what List returns: name and whether it can be selected.
func (s *suite) folders() map[string]bool {
	s.Helper()
	list, err := s.h.List(s.ctx)
	s.must(err, "List")
	found := map[string]bool{}
	for _, f := range list {
		if _, twice := found[f.Name]; twice {
			s.Errorf("%q is listed twice", f.Name)
		}
		found[f.Name] = f.Selectable
	}
	return found
}

func (s *suite) wantFolder(name string, want bool) {
	s.Helper()
	if got := s.folders()[name]; got != want {
		s.Errorf("%q is listed and selectable: %v, want %v", name, got, want)
	}
}

func (s *suite) createDelete() {
	s.inbox()
	s.wantFolder(mailbox.Inbox, true)
	s.wantErr(s.h.Create(s.ctx, mailbox.Inbox), mailbox.ErrExists, "Create of INBOX")
	if err := s.h.Delete(s.ctx, mailbox.Inbox); err == nil {
		s.Error("INBOX was deleted")
	}
	_, err := s.h.Open(s.ctx, "Work")
	s.wantErr(err, mailbox.ErrNotFound, "Open before Create")
	s.wantErr(s.h.Delete(s.ctx, "Work"), mailbox.ErrNotFound, "Delete before Create")
	s.must(s.h.Create(s.ctx, "Work"), "Create")
	s.wantFolder("Work", true)
	s.wantErr(s.h.Create(s.ctx, "Work"), mailbox.ErrExists, "Create again")
	b, err := s.h.Open(s.ctx, "Work")
	s.must(err, "Open")
	s.save(b, text(1), mailbox.SaveInfo{})
	first := s.sync(b)
	s.must(b.Close(), "Close")
	s.must(s.h.Delete(s.ctx, "Work"), "Delete")
	s.wantFolder("Work", false)
	_, err = s.h.Open(s.ctx, "Work")
	s.wantErr(err, mailbox.ErrNotFound, "Open after Delete")

	s.must(s.h.Create(s.ctx, "Work"), "Create after Delete")
	again := s.sync(s.box("Work"))
	if again.Len() != 0 {
		s.Errorf("%d messages in a new mailbox of an old name", again.Len())
	}
	if again.UIDValidity <= first.UIDValidity {
		s.Errorf("UIDVALIDITY %d, want above that of the deleted mailbox, %d", again.UIDValidity, first.UIDValidity)
	}
	if again.GUID == first.GUID {
		s.Error("a new mailbox has the GUID of the deleted one")
	}
	s.restart()
	s.wantFolder("Work", true)
}

func (s *suite) rename() {
	from, below := s.level("From"), s.level("From", "Deep", "Er")
	s.must(s.h.Create(s.ctx, from), "Create")
	s.must(s.h.Create(s.ctx, below), "Create")
	s.must(s.h.Create(s.ctx, "Fromage"), "Create")
	s.must(s.h.Create(s.ctx, "Taken"), "Create")
	views := map[string]*mailbox.View{}
	for _, name := range []string{from, below} {
		b, err := s.h.Open(s.ctx, name)
		s.must(err, "Open")
		s.save(b, text(len(name)), mailbox.SaveInfo{Flags: mailbox.Flags{System: mailbox.Flagged, Keywords: []string{"kept"}}})
		views[name] = s.sync(b)
		s.must(b.Close(), "Close")
	}
	s.wantErr(s.h.Rename(s.ctx, "Missing", "Else"), mailbox.ErrNotFound, "Rename of what is not there")
	s.wantErr(s.h.Rename(s.ctx, from, "Taken"), mailbox.ErrExists, "Rename onto another")
	if err := s.h.Rename(s.ctx, mailbox.Inbox, "Else"); err == nil {
		s.Error("INBOX was renamed, and the user's keys hang on its GUID")
	}
	if err := s.h.Rename(s.ctx, from, s.level(from, "Below")); err == nil {
		s.Error("a mailbox was renamed to below itself")
	}
	to := s.level("New", "To")
	s.must(s.h.Rename(s.ctx, from, to), "Rename")
	for range 2 {
		s.wantFolder(from, false)
		s.wantFolder(below, false)
		s.wantFolder("Fromage", true)
		for old, name := range map[string]string{from: to, below: s.level("New", "To", "Deep", "Er")} {
			s.wantFolder(name, true)
			b := s.box(name)
			v := s.sync(b)
			if v.GUID != views[old].GUID || b.GUID() != views[old].GUID {
				s.Errorf("%q: GUID changed by a rename, and with it what keys it has", name)
			}
			s.wantUIDs(v, uids(views[old])...)
			if v.Len() == 0 {
				continue
			}
			s.wantText(b, v.At(0).UID, text(len(old)))
			if !v.At(0).Flags.HasKeyword("kept") || v.At(0).Flags.System&mailbox.Flagged == 0 {
				s.Errorf("%q: flags %v after a rename", name, v.At(0).Flags.Names())
			}
		}
		s.restart()
	}
}

func (s *suite) names() {
	names := []string{
		"Sent", "Entwürfe", "Папка", "日本語", "📬 mail", "a&b", "&", "&-", "x y", "trailing ", "(brackets)", "quo\"te",
		"percent%", "star*", "tilde~inside", "back\\slash", "#hash", "+plus=", "colon:comma,", "e\u0301", "\u00e9", "INBOXes",
		strings.Repeat("long", 30), "cur", "new", "tmp", "inbox2", "CON",
		s.level("INBOX", "Child"), s.level("A", "B", "C", "D", "E", "F"), s.level("Ä", "Ö"),
	}
	var made []string
	for _, name := range names {
		err := s.h.Create(s.ctx, name)
		if errors.Is(err, mailbox.ErrName) && strings.ContainsAny(name, ".\\:~") {
			continue // a store may be stricter about these
		}
		if err != nil {
			s.Errorf("Create(%q): %v", name, err)
			continue
		}
		made = append(made, name)
	}
	for range 2 {
		list := s.folders()
		for _, name := range made {
			if !list[name] {
				s.Errorf("%q was made and is not listed", name)
			}
			b, err := s.h.Open(s.ctx, name)
			if err != nil {
				s.Errorf("Open(%q): %v", name, err)
				continue
			}
			if v := s.sync(b); v.Len() > 1 {
				s.Errorf("%q holds %d messages: two names are one mailbox", name, v.Len())
			}
			if s.sync(b).Len() == 0 {
				s.save(b, text(1), mailbox.SaveInfo{})
			}
			s.must(b.Close(), "Close")
		}
		s.restart()
	}
	for _, name := range made {
		if err := s.h.Delete(s.ctx, name); err != nil {
			s.Errorf("Delete(%q): %v", name, err)
		}
	}
	for name, selectable := range s.folders() {
		if selectable && name != mailbox.Inbox {
			s.Errorf("%q is left after all were deleted", name)
		}
	}
}

func (s *suite) refusedNames() {
	sep := string(rune(s.h.Separator()))
	s.must(s.h.Create(s.ctx, "Good"), "Create")
	before := len(s.folders())
	for _, name := range []string{
		"", sep, sep + "a", "a" + sep, "a" + sep + sep + "b", "..", "." + sep, s.level("a", "..", "b"), s.level("..", "..", "etc"),
		"~", "~root", "a\x00b", "a\nb", "a\r", "\x7f", "bad\xffutf8", strings.Repeat("x", 5000),
	} {
		for what, err := range map[string]error{
			"Create":    s.h.Create(s.ctx, name),
			"Rename to": s.h.Rename(s.ctx, "Good", name),
		} {
			if !errors.Is(err, mailbox.ErrName) && !errors.Is(err, mailbox.ErrLimit) {
				s.Errorf("%s %.20q: %v, want an error wrapping ErrName or ErrLimit", what, name, err)
			}
		}
		if b, err := s.h.Open(s.ctx, name); err == nil {
			s.Errorf("Open(%.20q) opened something", name)
			b.Close()
		}
		if s.h.Delete(s.ctx, name) == nil {
			s.Errorf("Delete(%.20q) deleted something", name)
		}
	}
	if after := s.folders(); len(after) != before {
		s.Errorf("there were %d names, and are %d: %v", before, len(after), after)
	}
	s.wantFolder("Good", true)
}

func (s *suite) levels() {
	child := s.level("Top", "Middle", "Leaf")
	s.must(s.h.Create(s.ctx, child), "Create")
	list := s.folders()
	if !list[child] {
		s.Errorf("%q is not listed", child)
	}
	for _, up := range []string{"Top", s.level("Top", "Middle")} {
		if _, ok := list[up]; !ok {
			s.Errorf("%q, the level above a mailbox, is not listed", up)
		}
	}
	if !list["Top"] {
		_, err := s.h.Open(s.ctx, "Top")
		if !errors.Is(err, mailbox.ErrNotSelectable) && !errors.Is(err, mailbox.ErrNotFound) {
			s.Errorf("Open of a mere level: %v", err)
		}
		s.must(s.h.Create(s.ctx, "Top"), "Create of what was a level only")
		s.wantFolder("Top", true)
	}
	b, err := s.h.Open(s.ctx, child)
	s.must(err, "Open")
	uid := s.save(b, text(5), mailbox.SaveInfo{})
	s.must(b.Close(), "Close")
	s.must(s.h.Delete(s.ctx, "Top"), "Delete of a mailbox with others below")
	s.wantFolder("Top", false)
	s.wantFolder(child, true)
	b = s.box(child)
	s.sync(b)
	s.wantText(b, uid, text(5))
}

func (s *suite) subscriptions() {
	want := []string{"Entwürfe", "Gone", mailbox.Inbox, s.level("A", "B")}
	slices.Sort(want)
	for _, name := range want {
		s.must(s.h.Subscribe(s.ctx, name, true), "Subscribe")
		s.must(s.h.Subscribe(s.ctx, name, true), "Subscribe again")
	}
	s.must(s.h.Subscribe(s.ctx, "Never", false), "Unsubscribe of what is not subscribed")
	check := func() {
		s.Helper()
		got, err := s.h.Subscriptions(s.ctx)
		s.must(err, "Subscriptions")
		slices.Sort(got)
		if !slices.Equal(got, want) {
			s.Errorf("subscribed: %q, want %q", got, want)
		}
	}
	check()
	s.restart()
	check()
	s.must(s.h.Subscribe(s.ctx, "Gone", false), "Unsubscribe")
	want = slices.DeleteFunc(want, func(n string) bool { return n == "Gone" })
	check()
	s.restart()
	check()
	if s.folders()["Entwürfe"] {
		s.Error("a subscription made a mailbox")
	}
}

func (s *suite) guids() {
	s.must(s.h.Create(s.ctx, "One"), "Create")
	s.must(s.h.Create(s.ctx, "Two"), "Create")
	seen := map[mailbox.GUID]string{}
	first := map[string]mailbox.GUID{}
	for range 2 {
		for _, name := range []string{mailbox.Inbox, "One", "Two"} {
			guid, err := s.h.GUID(s.ctx, name)
			s.must(err, "GUID")
			if guid.IsZero() {
				s.Errorf("%q has no GUID", name)
			}
			if other, ok := seen[guid]; ok && other != name {
				s.Errorf("%q and %q have one GUID", name, other)
			}
			if was, ok := first[name]; ok && was != guid {
				s.Errorf("%q: GUID %s, was %s", name, guid, was)
			}
			seen[guid], first[name] = name, guid
			b := s.box(name)
			if b.GUID() != guid || s.sync(b).GUID != guid {
				s.Errorf("%q: three ways to ask, not one GUID", name)
			}
		}
		s.restart()
	}
	_, err := s.h.GUID(s.ctx, "Missing")
	s.wantErr(err, mailbox.ErrNotFound, "GUID of what is not there")
}

func (s *suite) concurrentFolders() {
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			own := s.level("Dir", string(rune('a'+g)))
			for n := range 5 {
				for what, err := range map[string]error{
					"Create": s.h.Create(s.ctx, own),
				} {
					if err != nil {
						s.Errorf("%s %q: %v", what, own, err)
						return
					}
				}
				if err := s.h.Create(s.ctx, s.level("Shared", string(rune('a'+n)))); err != nil && !errors.Is(err, mailbox.ErrExists) {
					s.Errorf("Create by several: %v", err)
				}
				if _, err := s.h.List(s.ctx); err != nil {
					s.Errorf("List: %v", err)
				}
				if err := s.h.Subscribe(s.ctx, own, n%2 == 0); err != nil {
					s.Errorf("Subscribe: %v", err)
				}
				if err := s.useOnce(own); err != nil {
					s.Errorf("%q: %v", own, err)
				}
				if err := s.h.Delete(s.ctx, own); err != nil {
					s.Errorf("Delete: %v", err)
				}
			}
		})
	}
	wg.Wait()
	subs, err := s.h.Subscriptions(s.ctx)
	s.must(err, "Subscriptions")
	if len(subs) != 4 {
		s.Errorf("%d subscriptions, want 4: %q", len(subs), subs)
	}
}

// useOnce saves and reads a message. It may run in any goroutine.
func (s *suite) useOnce(name string) (err error) {
	var b storage.Backend
	if b, err = s.h.Open(s.ctx, name); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	uid, err := save(s.ctx, b, text(7), mailbox.SaveInfo{NeedUID: true})
	if err != nil {
		return err
	}
	_, err = read(s.ctx, b, uid)
	return err
}

// watchNames wants those who wait to hear of every change of names and subscriptions.
func (s *suite) watchNames() {
	told := make(chan struct{}, 1)
	stop := s.h.Watch(func() {
		select {
		case told <- struct{}{}:
		default:
		}
	})
	defer stop()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"CREATE", func() error { return s.h.Create(s.ctx, "Watched") }},
		{"SUBSCRIBE", func() error { return s.h.Subscribe(s.ctx, "Watched", true) }},
		{"RENAME", func() error { return s.h.Rename(s.ctx, "Watched", "Seen") }},
		{"UNSUBSCRIBE", func() error { return s.h.Subscribe(s.ctx, "Watched", false) }},
		{"DELETE", func() error { return s.h.Delete(s.ctx, "Seen") }},
	} {
		s.must(step.do(), step.name)
		select {
		case <-told:
		case <-time.After(20 * time.Second):
			s.Fatalf("nobody is told of %s", step.name)
		}
	}
}
