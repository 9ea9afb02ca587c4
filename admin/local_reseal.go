package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/keys"
)

// maxKeepOld is how long an old seal is kept at most.
const maxKeepOld = 30 * 24 * time.Hour

// Reseal implements Service. The old seals stay until the new ones have been read back.
func (l *Local) Reseal(ctx context.Context, r ResealRequest) (ResealResult, error) {
	keep, err := keepOld(r.KeepOld)
	if err != nil {
		return ResealResult{}, err
	}
	if err := r.check(); err != nil {
		return ResealResult{}, err
	}
	var result ResealResult
	err = l.onUser(ctx, r.User, true, func(j *job) error {
		old, done, err := l.secrets(j, r.Old)
		if err != nil {
			return err
		}
		defer done()
		to := keys.Seal{Open: r.Open, Only: r.Keys, All: r.All, KeepOld: keep}
		if err := l.newSeal(j, r, &to); err != nil {
			return err
		}
		defer to.Password.Clear()
		if err := j.only(ctx, r.Keys); err != nil {
			return err
		}
		change, err := j.Keys.Prepare(ctx, old, to)
		if err != nil {
			return err
		}
		result = keyResults(change.Keys)
		if err := unsealable(change.Keys); err != nil {
			return errors.Join(err, change.Rollback(context.WithoutCancel(ctx)))
		}
		if err := unopened(result, r.All); err != nil && (r.All || result.Changed() == 0) {
			for i := range result.Keys {
				result.Keys[i].Done, result.Keys[i].Is = Left, nil
			}
			return err
		}
		if r.PrepareOnly {
			result.Token = change.Token()
			for i := range result.Keys {
				if result.Keys[i].Done == SealedAnew || result.Keys[i].Done == Restored {
					result.Keys[i].Done = Prepared
				}
			}
			return failed(result)
		}
		if err := change.Commit(context.WithoutCancel(ctx)); err != nil {
			result.notYet()
			return err
		}
		result.KeptUntil = l.expireLater(j, r.User, keep)
		return failed(result)
	})
	return result, err
}

// check looks at the request alone.
func (r ResealRequest) check() error {
	n := 0
	for _, given := range []bool{r.New != nil, r.ToKey != nil, r.ToConfigured, r.Open} {
		if given {
			n++
		}
	}
	switch {
	case n == 0:
		return fmt.Errorf("%w: give a new password or key, or ask to leave the keys without one", ErrUsage)
	case n > 1:
		return fmt.Errorf("%w: more than one new seal is given", ErrUsage)
	case r.New != nil && r.New.Key == nil && len(r.New.Secret) == 0:
		return fmt.Errorf("%w: the new password is empty; to leave the keys without one, ask for that", ErrUsage)
	}
	return nil
}

func keepOld(seconds int64) (time.Duration, error) {
	if seconds < 0 || seconds > int64(maxKeepOld/time.Second) {
		return 0, fmt.Errorf("%w: old seals are kept for at most 30 days", ErrUsage)
	}
	return time.Duration(seconds) * time.Second, nil
}

// newSeal reads what the keys are to be sealed by.
func (l *Local) newSeal(j *job, r ResealRequest, to *keys.Seal) (err error) {
	switch {
	case r.New != nil:
		to.Password, err = l.seal(j.user, *r.New)
	case r.ToKey != nil:
		if to.Key, err = dcrypt.ParsePublicKey(dcrypt.DecodeKeySetting(r.ToKey)); err != nil {
			return fmt.Errorf("%w: the key to seal to: %w", ErrUsage, err)
		}
	case r.ToConfigured:
		c := j.Keys.Config()
		if len(c.SealKeys) == 0 {
			return fmt.Errorf("%w: no mail_crypt_private_key is configured for user %s", ErrUsage, j.user.Name)
		}
		to.Key = c.SealKeys[0].Public()
	}
	return err
}

// only refuses ids of no user key.
func (j *job) only(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	inv, err := j.Keys.Inventory(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		found := false
		for _, st := range inv.Keys {
			found = found || st.User && st.ID == id
		}
		if !found {
			return fmt.Errorf("%w: user %s has no user key %s", ErrNoKey, j.user.Name, id)
		}
	}
	return nil
}

// unsealable reports a new seal that a key cannot have, whatever opens it.
func unsealable(rows []keys.KeyResult) error {
	for _, row := range rows {
		if errors.Is(row.Err, dcrypt.ErrHexPassword) {
			return fmt.Errorf("%w: %w; nothing was changed", ErrUsage, row.Err)
		}
	}
	return nil
}

// unopened is failed, for where nothing has been changed yet.
func unopened(r ResealResult, all bool) error {
	err := failed(r)
	if all && errors.Is(err, ErrPartly) {
		return fmt.Errorf("%w; nothing was changed", err)
	}
	return err
}

// notYet takes back what a result says, because the last step has failed.
func (r *ResealResult) notYet() {
	for i, k := range r.Keys {
		if k.Done == SealedAnew || k.Done == Restored {
			r.Keys[i].Done = Prepared
		}
	}
}

// EndReseal implements Service.
func (l *Local) EndReseal(ctx context.Context, r EndResealRequest) (ResealResult, error) {
	keep, err := keepOld(r.KeepOld)
	if err != nil {
		return ResealResult{}, err
	}
	var result ResealResult
	err = l.onUser(ctx, r.User, true, func(j *job) error {
		if r.Commit {
			return l.commit(ctx, j, r, keep, &result)
		}
		rows, err := j.Keys.Abandon(ctx, r.Token)
		result = keyResults(rows)
		counts := false
		for i, k := range rows {
			if k.Is != nil && bytes.Equal(k.Is, k.Was) {
				counts = true // SealedAnew
				continue
			}
			result.Keys[i].Done, result.Keys[i].Is = Left, result.Keys[i].Was
		}
		if err == nil && counts {
			return fmt.Errorf("%w: the new seals count already: they were committed, or somebody has logged in with the new password, and the old one comes back by another change alone", ErrConflict)
		}
		return badToken(err)
	})
	return result, err
}

// commit is EndReseal where the new seals are to count.
func (l *Local) commit(ctx context.Context, j *job, r EndResealRequest, keep time.Duration, result *ResealResult) error {
	change, err := j.Keys.Resume(ctx, r.Token)
	if err != nil {
		return badToken(err)
	}
	*result = keyResults(change.Keys)
	change.KeepOld = keep
	if err := l.commitAfterLogins(ctx, r.User, change); err != nil {
		result.notYet()
		return err
	}
	result.KeptUntil = l.expireLater(j, r.User, keep)
	return nil
}

func badToken(err error) error {
	if errors.Is(err, keys.ErrToken) {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if errors.Is(err, attrdict.ErrChanged) {
		return fmt.Errorf("%w: the change of this token is not pending any more: it was abandoned, or another took its place", ErrConflict)
	}
	return err
}

// UndoReseal implements Service.
func (l *Local) UndoReseal(ctx context.Context, r UndoResealRequest) (ResealResult, error) {
	var result ResealResult
	err := l.onUser(ctx, r.User, true, func(j *job) error {
		rows, err := j.Keys.Undo(ctx, r.Forget)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return fmt.Errorf("%w: no old seal is kept for user %s", ErrNoKey, j.user.Name)
		}
		result = keyResults(rows)
		if r.Forget {
			for i := range result.Keys {
				result.Keys[i].Done = Left
			}
			return nil
		}
		for _, row := range rows {
			if row.Err != nil {
				return fmt.Errorf("%w: %w", ErrPartly, row.Err)
			}
		}
		return nil
	})
	return result, err
}

// expireLater removes kept seals when their time is over, if this process is still there
// then; otherwise the user's next login, or the next change, does it.
func (l *Local) expireLater(j *job, user string, keep time.Duration) int64 {
	if keep <= 0 {
		return 0
	}
	if l.Daemon {
		time.AfterFunc(keep+time.Second, func() {
			// A registry that has closed opens no user, and that is well.
			_ = l.onUser(context.Background(), user, true, func(j *job) error { return j.Keys.Expire(context.Background()) })
		})
	}
	return time.Now().Add(keep).Unix()
}

func keyResults(list []keys.KeyResult) ResealResult {
	var r ResealResult
	for _, k := range list {
		kr := KeyResult{ID: k.ID, Active: k.Active, Was: sealRef(k.Was), Is: sealRef(k.Is), FolderKeys: k.FolderKeys, Done: SealedAnew}
		switch {
		case k.Err != nil:
			kr.Done, kr.Error = Left, k.Err.Error()
		case k.SetAside:
			kr.Done = SetAside
		case k.Made:
			kr.Done = Made
		case k.Already:
			kr.Done = Already
		case k.Restored:
			kr.Done = Restored
		}
		r.Keys = append(r.Keys, kr)
	}
	return r
}

// failed makes the error of a result in which some keys did not open.
func failed(r ResealResult) error {
	n := 0
	for _, k := range r.Keys {
		if k.Error != "" {
			n++
		}
	}
	switch {
	case n == 0:
		return nil
	case r.Changed() == 0:
		return fmt.Errorf("%w: it opens none of the %d user keys", ErrPassword, n)
	}
	return fmt.Errorf("%w: %d of %d did not open", ErrPartly, n, len(r.Keys))
}
