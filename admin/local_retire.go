package admin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailcrypt/dcrypt"
	"mailcrypt/keys"
)

// retireDelay is how long after a key was active it is not destroyed: mail under way may
// still be encrypted to it. No delivery takes longer.
const retireDelay = 15 * time.Minute

// A retirement decides which keys can go.
type retirement struct {
	*job
	inv   *keys.Inventory
	needs *needs
	delay time.Duration
	going map[*keys.Stored]bool
}

// Retire implements Service. What the headers of all messages say decides, read until nothing
// new comes. Then the keys are taken out of use, the headers of what came meanwhile are read,
// and only then the keys are destroyed; stopped in between, a key is out of use and comes back
// or goes with the next call.
func (l *Local) Retire(ctx context.Context, r RetireRequest) (RetireResult, error) {
	var result RetireResult
	switch {
	case len(r.IDs) == 0 && !r.Unneeded:
		return result, fmt.Errorf("%w: say which keys", ErrUsage)
	case len(r.IDs) > 0 && r.Unneeded:
		return result, fmt.Errorf("%w: some keys are named, and all that are not needed are meant", ErrUsage)
	case r.Confirm != "" && (len(r.IDs) != 1 || r.DryRun):
		return result, fmt.Errorf("%w: a code confirms one key", ErrUsage)
	}
	err := l.on(ctx, r.User, true, func(j *job) error {
		t := &retirement{job: j, delay: retireDelay, going: map[*keys.Stored]bool{}}
		if l.RetireDelay != 0 {
			t.delay = l.RetireDelay
		}
		if err := t.look(ctx); err != nil {
			return err
		}
		result.Scan = &t.needs.Scan
		if err := unknown(r.IDs, t.inv); err != nil {
			return err
		}
		chosen := t.choose(r)
		for _, st := range t.decide(chosen) {
			if row := t.row(st, r); !r.Unneeded || row.Done != Left {
				result.Keys = append(result.Keys, row)
			}
		}
		if r.DryRun {
			return retired(result)
		}
		if err := t.destroy(ctx, &result); err != nil {
			return err
		}
		return retired(result)
	})
	return result, err
}

// look reads keys and headers, until a round shows no new message.
func (t *retirement) look(ctx context.Context) (err error) {
	if err = t.recover(ctx); err != nil {
		return err
	}
	if t.needs, err = t.count(ctx, nil); err != nil {
		return err
	}
	for rounds := 0; ; rounds++ {
		n, err := t.needs.round(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if rounds == 100 {
			return fmt.Errorf("%w: mail comes and goes faster than it can be looked at", ErrTemporary)
		}
	}
	if t.needs.failed != nil {
		return fmt.Errorf("%w: a message could not be looked at, so nobody knows which key it needs: %w", ErrTemporary, t.needs.failed)
	}
	t.inv, err = t.Keys.Inventory(ctx)
	return err
}

// recover puts back what an earlier call has taken out of use and not destroyed.
func (t *retirement) recover(ctx context.Context) error {
	inv, err := t.Keys.Inventory(ctx)
	if err != nil {
		return err
	}
	var list []*keys.Stored
	for _, st := range inv.Keys {
		if st.Retired {
			list = append(list, st)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return t.Keys.PutBack(ctx, list)
}

// choose finds the records that a request means.
func (t *retirement) choose(r RetireRequest) []*keys.Stored {
	var list []*keys.Stored
	for _, st := range t.inv.Keys {
		// What is set aside as lost, or has its private half elsewhere, goes only by name.
		if r.Unneeded && !st.Lost && st.Text != nil || slices.ContainsFunc(st.IDs(), func(id dcrypt.KeyID) bool { return slices.Contains(r.IDs, id.String()) }) {
			list = append(list, st)
		}
	}
	return list
}

// decide marks what can go, folder keys first: a user key may hang on them alone. It returns
// the records in the order of their rows.
func (t *retirement) decide(chosen []*keys.Stored) []*keys.Stored {
	for _, user := range []bool{false, true} {
		for _, st := range chosen {
			if st.User == user && t.why(st) == "" {
				t.going[st] = true
			}
		}
	}
	return chosen
}

// why says what stands against destroying a key; "" where nothing does.
func (t *retirement) why(st *keys.Stored) string {
	if s := t.never(st); s != "" {
		return s
	}
	if n := t.messages(st); n > 0 {
		return fmt.Sprintf("%d messages are encrypted to it", n)
	}
	if n := len(t.hanging(st)); n > 0 {
		return fmt.Sprintf("%d keys can be opened only by it: rewrap them first", n)
	}
	return ""
}

// never says what no confirmation helps against.
func (t *retirement) never(st *keys.Stored) string {
	for _, other := range t.inv.Keys {
		if other.Active && other.User == st.User && other.ID == st.ID {
			return "it is active: generate another one first"
		}
	}
	// No mail is encrypted to a user key, and folder keys that come under one are noticed.
	if wait := time.Until(st.Rotated.Add(t.delay)); !st.User && !st.Rotated.IsZero() && wait > 0 {
		return fmt.Sprintf("it was active a moment ago, and mail under way may be encrypted to it: try again in %s", wait.Round(time.Second))
	}
	return ""
}

func (t *retirement) messages(st *keys.Stored) int64 {
	here, elsewhere := t.needs.of(st)
	return here + elsewhere
}

// hanging are the keys that only this one opens: those that it wraps, and of which there is
// no record under another key that is there.
func (t *retirement) hanging(st *keys.Stored) []*keys.Stored {
	if !st.User || t.copies(st) > 1 {
		return nil
	}
	var list []*keys.Stored
	for _, other := range t.inv.Keys {
		by, ok := other.Wrapper()
		if !ok || !st.Has(by) || t.going[other] || other == st {
			continue
		}
		saved := slices.ContainsFunc(t.inv.Keys, func(o *keys.Stored) bool {
			by, ok := o.Wrapper()
			return o != other && o.User == other.User && o.ID == other.ID && o.GUID == other.GUID && ok && !st.Has(by)
		})
		if !saved {
			list = append(list, other)
		}
	}
	return list
}

// copies counts the records of a user key that stay: INBOX may have been renamed.
func (t *retirement) copies(st *keys.Stored) int {
	n := 0
	for _, other := range t.inv.Keys {
		if other.User && other.ID == st.ID && other.Text != nil && !t.going[other] {
			n++
		}
	}
	return n
}

// row tells what becomes of a key, and makes it go where it was confirmed.
func (t *retirement) row(st *keys.Stored, r RetireRequest) RetiredKey {
	row := RetiredKey{KeyRef: t.ref(st), Messages: t.messages(st), Wraps: len(t.hanging(st)), Done: WouldBe}
	why := t.why(st)
	if why == "" {
		return row
	}
	code := ""
	if t.never(st) == "" {
		code = t.code(st)
	}
	if r.Confirm != "" && r.Confirm == code {
		t.going[st] = true
		return row
	}
	row.Done, row.Error, row.Confirm = Left, why, code
	if r.Confirm != "" {
		row.Error += "; the code that was given is of another state of things"
	}
	return row
}

// code stands for a key and all that would be lost with it.
func (t *retirement) code(st *keys.Stored) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %s %v %x %d", st.GUID, st.ID, st.User, sha256.Sum256(st.Text), t.messages(st))
	for _, other := range t.hanging(st) {
		here, elsewhere := t.needs.of(other)
		fmt.Fprintf(h, " %s/%s/%d", other.GUID, other.ID, here+elsewhere)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// destroy carries it out.
func (t *retirement) destroy(ctx context.Context, result *RetireResult) error {
	var list []*keys.Stored
	needed := map[*keys.Stored]int64{}
	for st := range t.going {
		list = append(list, st)
		needed[st] = t.messages(st)
	}
	if len(list) == 0 {
		return nil
	}
	undone := func(why error) error {
		for i := range result.Keys {
			if result.Keys[i].Done == WouldBe {
				result.Keys[i].Done, result.Keys[i].Error = Left, "nothing was destroyed"
			}
		}
		return why
	}
	if err := t.Keys.SetAside(ctx, list); err != nil {
		return undone(inUse(err))
	}
	back := func(why error) error {
		return undone(errors.Join(why, t.Keys.PutBack(context.WithoutCancel(ctx), list)))
	}
	for { // what came while nobody could tell that the key would go
		n, err := t.needs.round(ctx)
		if err != nil || t.needs.failed != nil {
			return back(classify(errors.Join(err, t.needs.failed)))
		}
		if n == 0 {
			break
		}
	}
	inv, err := t.Keys.Inventory(ctx)
	if err != nil {
		return back(err)
	}
	for _, st := range list {
		if t.messages(st) != needed[st] || t.newlyHanging(inv, st) {
			return back(fmt.Errorf("%w: mail has come that needs key %s", ErrInUse, st.ID))
		}
	}
	if err := t.Keys.Destroy(ctx, list); err != nil {
		return back(inUse(err))
	}
	for i := range result.Keys {
		if result.Keys[i].Done == WouldBe {
			result.Keys[i].Done = Destroyed
		}
	}
	return nil
}

// newlyHanging reports whether a key has been made under a user key since it was looked at.
func (t *retirement) newlyHanging(now *keys.Inventory, st *keys.Stored) bool {
	return st.User && slices.ContainsFunc(now.Keys, func(other *keys.Stored) bool {
		by, ok := other.Wrapper()
		known := slices.ContainsFunc(t.inv.Keys, func(o *keys.Stored) bool {
			return o.GUID == other.GUID && o.User == other.User && o.ID == other.ID
		})
		return ok && st.Has(by) && !known
	})
}

func inUse(err error) error {
	if errors.Is(err, keys.ErrInUse) {
		return fmt.Errorf("%w: %w", ErrInUse, err)
	}
	return err
}

// retired makes the error of a result.
func retired(r RetireResult) error {
	var left []string
	for _, k := range r.Keys {
		if k.Done == Left {
			left = append(left, k.ID)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrInUse, strings.Join(left, ", "))
}
