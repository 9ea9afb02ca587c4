package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mailcrypt/attrdict"
	"mailcrypt/internal/errline"
	"mailcrypt/keycheck"
)

// A checkedHome is what was found in one home of a backup.
type checkedHome struct {
	User       string       `json:"user,omitempty"`
	Path       string       `json:"path"`
	Dict       string       `json:"dict,omitempty"`
	Healthy    bool         `json:"healthy"`
	Encrypted  int          `json:"encrypted"`
	Clear      int          `json:"clear"`
	Unreadable int          `json:"unreadable"`
	UserKeys   int          `json:"user_keys"`
	Opened     int          `json:"opened_user_keys"`
	Keys       []checkedKey `json:"keys"`
	Bad        []badMessage `json:"bad,omitempty"`
	Warnings   []string     `json:"warnings,omitempty"`
	Error      string       `json:"error,omitempty"`
}

// A checkedKey is a key that messages need, any of IDs, or one that new mail will.
type checkedKey struct {
	IDs      []string       `json:"ids"`
	State    keycheck.State `json:"state"`
	Active   bool           `json:"active,omitempty"`
	User     bool           `json:"user_key,omitempty"`
	Messages int            `json:"messages"`
	Example  string         `json:"example,omitempty"`
	Error    string         `json:"error,omitempty"`
}

// A badMessage is one whose header cannot be read.
type badMessage struct {
	Path  string `json:"path"`
	Error string `json:"error"`
}

// add takes in a home that was looked at.
func (b *backupCheck) add(h keycheck.Home, user string) {
	c := checkedHome{User: user, Path: h.Path, Dict: h.Dict, Keys: []checkedKey{}}
	if h.Err != nil {
		c.Error = errline.Text(h.Err.Error())
		if errors.Is(h.Err, attrdict.ErrLocked) {
			c.Error += "; this is no copy: a daemon has it in use, and \"cryptokey check\" asks that"
		}
	}
	if r := h.Report; r != nil {
		c.Encrypted, c.Clear, c.Unreadable, c.UserKeys, c.Opened, c.Warnings = r.Encrypted, r.Plain, len(r.Bad)+r.MoreBad, r.UserKeys, r.Opened, r.Warnings
		c.Healthy = h.Err == nil && !r.Lost()
		for _, k := range r.Results {
			key := checkedKey{IDs: ids(k.Keys), State: k.State, Active: k.Active, User: k.User, Messages: k.Messages, Example: k.Example}
			if b.open && k.State != keycheck.Opens {
				c.Healthy = false
			}
			if k.Err != nil && k.State != keycheck.Opens && (b.open || k.State != keycheck.Sealed) {
				key.Error = errline.Text(k.Err.Error())
			}
			c.Keys = append(c.Keys, key)
		}
		for _, m := range r.Bad {
			c.Bad = append(c.Bad, badMessage{m.Where, errline.Text(m.Err.Error())})
		}
	}
	b.found = append(b.found, c)
}

// showBackup prints homes; rows bounds the messages of each.
func (t *tool) showBackup(homes []checkedHome, rows int) error {
	tb := table{columns: []column{{title: "Home"}, {title: "Key"}, {title: "Active"}, {title: "Messages"}, {title: "State"}, {title: "Remarks"}}}
	for i := range homes {
		h := &homes[i]
		for _, k := range h.Keys {
			tb.add(h.Path, strings.Join(k.IDs, " "), yesNo(k.Active), strconv.Itoa(k.Messages), string(k.State), join(k.Error, k.where()))
		}
		h.Bad = h.Bad[:min(len(h.Bad), max(rows, 0))]
	}
	if homes == nil {
		homes = []checkedHome{}
	}
	if err := t.show(tb, homes); err != nil || t.format != "" && t.format != "table" {
		return err
	}
	for _, h := range homes {
		t.showHome(h)
	}
	return nil
}

// where says what needs a key that is not well.
func (k checkedKey) where() string {
	switch {
	case k.State == keycheck.Opens || k.State == keycheck.Sealed:
		return ""
	case k.Messages > 0:
		return "such as " + k.Example
	case k.User:
		return "new folder keys need it"
	}
	return "new mail in " + k.Example + " needs it"
}

func (t *tool) showHome(h checkedHome) {
	name := h.Path
	if h.User != "" {
		name = h.User
	}
	name = clean(name)
	for _, m := range h.Bad {
		fmt.Fprintf(t.stdout, "%s: %s cannot be read: %s\n", name, clean(m.Path), clean(m.Error))
	}
	if more := h.Unreadable - len(h.Bad); more > 0 {
		fmt.Fprintf(t.stdout, "%s: and %d messages more\n", name, more)
	}
	for _, w := range h.Warnings {
		fmt.Fprintf(t.stderr, "%s: warning: %s\n", name, clean(w))
	}
	if h.Error != "" {
		fmt.Fprintf(t.stdout, "%s: COULD NOT BE CHECKED: %s\n", name, clean(h.Error))
		return
	}
	verdict := "all keys are there"
	switch {
	case h.Healthy:
	case h.Unreadable > 0 || slices.ContainsFunc(h.Keys, func(k checkedKey) bool { return k.State != keycheck.Opens && k.State != keycheck.Sealed }):
		verdict = "KEYS ARE MISSING"
	default:
		verdict = "KEYS STAY SHUT"
	}
	fmt.Fprintf(t.stdout, "%s: %s: %d messages encrypted, %d in the clear, %d unreadable; %d of %d user keys open\n", name, verdict, h.Encrypted, h.Clear, h.Unreadable, h.Opened, h.UserKeys)
}
