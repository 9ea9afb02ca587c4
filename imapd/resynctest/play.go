package resynctest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Play says how many rounds to play and by which random numbers. RESYNC_ROUNDS and
// RESYNC_SEED, which it logs, say so from outside; with -short few are played.
func Play(t testing.TB, rounds, short int) (int, *rand.Rand) {
	if testing.Short() {
		rounds = short
	}
	seed := uint64(time.Now().UnixNano())
	for name, set := range map[string]func(uint64){
		"RESYNC_ROUNDS": func(n uint64) { rounds = int(n) },
		"RESYNC_SEED":   func(n uint64) { seed = n },
	} {
		s := os.Getenv(name)
		if s == "" {
			continue
		}
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("%s=%s is no number", name, s)
		}
		set(n)
	}
	t.Logf("RESYNC_SEED=%d", seed)
	return rounds, rand.New(rand.NewPCG(seed, 0))
}
