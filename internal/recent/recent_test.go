package recent

import "testing"

func TestMap(t *testing.T) {
	var m Map[int, string]
	if _, ok := m.Get(1); ok {
		t.Error("an empty map remembers")
	}
	m.Put(1, "used")
	m.Put(2, "left")
	for k := 3; k < 10*Generation; k++ {
		m.Put(k, "")
		if k%(Generation/2) == 0 {
			if v, ok := m.Get(1); !ok || v != "used" {
				t.Fatalf("what is used is forgotten after %d others", k)
			}
		}
		if len(m.now) > Generation || len(m.old) > Generation {
			t.Fatalf("%d and %d keys are kept", len(m.now), len(m.old))
		}
	}
	if _, ok := m.Get(2); ok {
		t.Error("what nobody uses is remembered")
	}
	for k := 9 * Generation; k < 10*Generation; k++ {
		if _, ok := m.Get(k); !ok {
			t.Fatalf("one of the last %d, %d, is forgotten", Generation, k)
		}
	}
}
