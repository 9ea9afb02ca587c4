package dcrypt

// An agreer is a group that makes an agreement of a scalar within its range without computing
// the public point, too.
type agreer interface {
	// agreement does not keep the slice.
	agreement(scalar []byte) (agreement, error)
}

// ready makes the agreement of a key whose public point did not have to be computed.
func (k *PrivateKey) ready() (err error) {
	k.mu.RLock()
	done := k.agree != nil || k.scalar.IsZero()
	k.mu.RUnlock()
	if done {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.agree != nil || k.scalar.IsZero() {
		return nil
	}
	g := k.pub.info.group()
	if a, ok := g.(agreer); ok {
		k.agree, err = a.agreement(k.scalar.Bytes())
		return err
	}
	k.known.countComputed()
	k.agree, _, err = g.private(k.scalar.Bytes())
	return err
}
