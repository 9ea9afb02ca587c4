package account

import (
	"context"
	"testing"
)

// TestEntering waits for logins that have begun, of the user alone, and for no later ones.
func TestEntering(t *testing.T) {
	r := NewRegistry(Options{})
	defer r.Close()
	ctx := context.Background()
	r.AwaitEntered(ctx, "u") // nobody
	other := r.Entering("v")
	first, second := r.Entering("u"), r.Entering("u")
	waited := make(chan struct{})
	began := make(chan struct{})
	go func() {
		close(began)
		r.AwaitEntered(ctx, "u")
		close(waited)
	}()
	<-began
	first()
	first() // a second call does nothing
	select {
	case <-waited:
		t.Error("a login under way was not waited for")
	default:
	}
	second()
	<-waited
	late := r.Entering("u")
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	r.AwaitEntered(canceled, "u") // ends though the login does not
	late()
	other()
	if len(r.entering.open) != 0 {
		t.Errorf("%d users are left", len(r.entering.open))
	}
}
