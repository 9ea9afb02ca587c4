// Package keycheck answers whether the keys that a user's messages need are there, and
// open, before somebody has to know: of a live user, or of a copy in a backup, which it
// does not touch.
//
// What is needed comes from the headers of the streams (FromHierarchy, FromTree); Check
// holds it against a dictionary and whatever secrets are at hand.
package keycheck

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/keys"
	"mailcrypt/mailbox"
)

// A State says what is the matter with a key.
type State string

// The states, the best first.
const (
	Opens   State = "opens"   // with the secrets at hand
	Sealed  State = "sealed"  // it is there, with the user key that wraps it; no secret at hand opens it
	Damaged State = "damaged" // its record is there and is no such key
	Orphan  State = "orphan"  // it is there, and the user key that wraps it is not
	Missing State = "missing"
)

var order = []State{Opens, Sealed, Damaged, Orphan, Missing}

// A Need is a key that messages are encrypted to: one of Keys is enough.
type Need struct {
	Keys     []dcrypt.KeyID // ids as the streams name them: old ids in those of version 1
	Messages int
	Folders  map[string]int // messages by folder, or by directory
	Example  string         // a folder and UID, or a file
}

// Needs are all keys that a user's messages need.
type Needs struct {
	Keys      []*Need // in the order in which they were found
	Plain     int     // messages that are not encrypted
	Encrypted int
	Bad       []Bad // messages whose header cannot be read
	MoreBad   int   // others of that kind, not listed
	Inbox     mailbox.GUID
	Folders   map[mailbox.GUID]string // all that have a GUID, by name or directory

	byID   map[string]*Need
	report func(path string, messages int)
	depth  int // of the directory that Inbox was read in
}

// A Bad is a message whose header cannot be read.
type Bad struct {
	Where string
	Err   error
}

const maxBad = 1000

func (n *Needs) add(folder, where string, h *dcrypt.Header, err error) {
	switch {
	case err != nil:
		if len(n.Bad) == maxBad {
			n.MoreBad++
			return
		}
		n.Bad = append(n.Bad, Bad{where, err})
		return
	case h == nil:
		n.Plain++
		return
	}
	n.Encrypted++
	var id strings.Builder
	for _, r := range h.Recipients {
		id.Write(r.ID[:])
	}
	if n.byID == nil {
		n.byID = map[string]*Need{}
	}
	need := n.byID[id.String()]
	if need == nil {
		need = &Need{Folders: map[string]int{}, Example: where}
		for _, r := range h.Recipients {
			need.Keys = append(need.Keys, r.ID)
		}
		n.byID[id.String()] = need
		n.Keys = append(n.Keys, need)
	}
	need.Messages++
	need.Folders[folder]++
}

// Secrets are what keys may be opened with. The zero value opens what lies open.
type Secrets struct {
	Passwords []keys.Secret        // seal the user's keys
	SealKeys  []*dcrypt.PrivateKey // open user keys that are sealed to them
	Global    []*dcrypt.PrivateKey // open messages
}

// A Result is what became of one Need.
type Result struct {
	Need
	State State
	Err   error // why not, where the state does not say it all
	// Active says that new mail, or with User new folder keys, are encrypted to the key.
	Active, User bool
}

// A Report is what Check found.
type Report struct {
	Results   []Result // the worst first
	Plain     int
	Encrypted int
	Bad       []Bad
	MoreBad   int
	UserKeys  int // that are stored
	Opened    int // of these, with the secrets
	// Warnings are what is not wrong and asks for attention.
	Warnings []string
}

// Count is how many messages need a key in one of these states.
func (r *Report) Count(states ...State) int {
	n := 0
	for _, k := range r.Results {
		if slices.Contains(states, k.State) {
			n += k.Messages
		}
	}
	return n
}

// Lost reports whether something is wrong that no secret mends: a key is missing or damaged
// that messages or new mail need, or the header of a message.
func (r *Report) Lost() bool {
	return len(r.Bad) > 0 || slices.ContainsFunc(r.Results, func(k Result) bool { return better(Sealed, k.State) })
}

// Check holds needs against a dictionary. It changes nothing: where a login would mend
// something, it does not. dict may be nil for a user without one. Errors are those of the
// dictionary.
func Check(ctx context.Context, needs *Needs, dict attrdict.Dict, s Secrets) (*Report, error) {
	c := keys.Config{GlobalPrivate: s.Global, SealKeys: s.SealKeys, NoUserKey: true, NoGenerate: true}
	k := keys.New(attrdict.ReadOnly(dict), needs.Inbox, c, nil)
	inv, err := k.Inventory(ctx)
	if err != nil {
		return nil, fmt.Errorf("keycheck: %w", err)
	}
	opened, err := k.Open(ctx, inv, s.Passwords)
	if err != nil {
		return nil, fmt.Errorf("keycheck: %w", err)
	}
	defer opened.Close()
	judge := NewJudge(inv, opened, c)
	r := &Report{Plain: needs.Plain, Encrypted: needs.Encrypted, Bad: needs.Bad, MoreBad: needs.MoreBad, Warnings: judge.Warnings()}
	for _, st := range inv.Keys {
		if !st.User || st.Text == nil || st.Lost || st.Retired {
			continue
		}
		r.UserKeys++
		if _, err := opened.UserKey(st); err == nil {
			r.Opened++
		}
	}
	for _, n := range needs.Keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		best := Result{Need: *n, State: Missing}
		for _, id := range n.Keys {
			if v := judge.Key(id); better(v.State, best.State) || best.Err == nil {
				best.State, best.Err = v.State, v.Err
			}
			if best.State == Opens {
				break
			}
		}
		r.Results = append(r.Results, best)
	}
	r.active(judge, needs)
	slices.SortStableFunc(r.Results, func(a, b Result) int {
		return cmp.Or(cmp.Compare(slices.Index(order, b.State), slices.Index(order, a.State)), cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Example, b.Example))
	})
	return r, nil
}

// active marks the keys that new mail will need, and adds those that messages do not.
func (r *Report) active(judge *Judge, needs *Needs) {
	add := func(guid mailbox.GUID, folder string, user bool) {
		id, v, ok := judge.Active(guid, user)
		if !ok {
			return
		}
		i := slices.IndexFunc(r.Results, func(k Result) bool { return k.State == v.State && len(k.Keys) == 1 && k.Keys[0] == id })
		if i >= 0 {
			r.Results[i].Active, r.Results[i].User = true, r.Results[i].User || user
			return
		}
		r.Results = append(r.Results, Result{Need: Need{Keys: []dcrypt.KeyID{id}, Example: folder}, State: v.State, Err: v.Err, Active: true, User: user})
	}
	for guid, folder := range needs.Folders {
		add(guid, folder, false)
	}
	add(needs.Inbox, "", true)
}
