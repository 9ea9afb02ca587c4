package bufpool

import (
	"bytes"
	"testing"
)

func TestSizes(t *testing.T) {
	for _, n := range []int{0, 1, 4095, 4096, 4097, 5120, 5121, 8192, 8193, 65536, 100_000, Small, Small + 1, 4 << 20, Medium, 5 << 20, 5<<20 + 1, 16 << 20, 16<<20 + 1, Max - 1, Max} {
		c, size := class(n)
		if size < n || n > 4096 && (size-n)*4 > n {
			t.Errorf("%d octets get %d", n, size)
		}
		if back, same := class(size); back != c || same != size {
			t.Errorf("class of %d octets is %d of %d, whose own is %d of %d", n, c, size, back, same)
		}
		b := Get(n)
		if b == nil || len(b.B) != n || b.B == nil {
			t.Fatalf("Get(%d) = %v", n, b)
		}
		b.Free()
	}
	for _, n := range []int{-1, Max + 1} {
		if Get(n) != nil {
			t.Errorf("Get(%d) is not nil", n)
		}
	}
	if class, _ := class(Max); class >= len(classes) {
		t.Errorf("%d classes, and one for Max is %d", len(classes), class)
	}
}

func TestFreeOverwrites(t *testing.T) {
	b := Get(10_000)
	whole := b.whole
	copy(b.B, bytes.Repeat([]byte("secret"), 1000))
	b.B = b.B[:10]
	b.Free()
	if bytes.Contains(whole, []byte("s")) {
		t.Error("text is left in a buffer that was freed")
	}
	(*Buffer)(nil).Free()
	b = Make(Max + 1)
	made := b.B
	copy(made, "secret")
	b.Free()
	if len(made) != Max+1 || made[0] != 0 {
		t.Errorf("a buffer of %d octets was made, and begins with %q once freed", len(made), made[0])
	}
}

func TestLargeAreBounded(t *testing.T) {
	var lent []*Buffer
	for {
		b := Get(4 << 20)
		if b == nil {
			break
		}
		if lent = append(lent, b); len(lent) > maxLarge/(4<<20) {
			t.Fatal("more is lent than there should be")
		}
	}
	if len(lent) < maxLarge/(4<<20) {
		t.Errorf("%d buffers of 4 MiB are all there is", len(lent))
	}
	if small := Get(Small); small == nil {
		t.Error("no small buffer while large ones are out")
	} else {
		small.Free()
	}
	for _, b := range lent {
		b.Free()
	}
	if left := large.Load(); left != 0 {
		t.Errorf("%d octets of large buffers are still counted", left)
	}
	if size := func() int { _, size := class(Medium); return size }(); size != mediumClass {
		t.Errorf("Medium is of the class of %d octets, want %d", size, mediumClass)
	}
	again := Get(Max)
	if again == nil {
		t.Fatal("no large buffer after all were freed")
	}
	again.Free()
}

// TestHugeLeaveHalf lends as many of the largest as there are: half is left to those below.
func TestHugeLeaveHalf(t *testing.T) {
	for _, size := range []int{5<<20 + 1, 10 << 20, 16 << 20, Max} {
		var lent []*Buffer
		total := 0
		for b := Get(size); b != nil; b = Get(size) {
			if lent, total = append(lent, b), total+len(b.whole); total > maxHuge {
				t.Fatalf("more is lent than there should be: %d octets in buffers of %d", total, size)
			}
		}
		if total+len(lent[0].whole) <= maxHuge {
			t.Errorf("%d buffers of %d octets are all there is", len(lent), size)
		}
		for range (maxLarge - maxHuge) / mediumClass {
			b := Get(Medium)
			if b == nil {
				t.Fatalf("no buffer of 4 MiB while %d octets are lent to larger ones", total)
			}
			lent = append(lent, b)
		}
		for _, b := range lent {
			b.Free()
		}
		if large.Load() != 0 || huge.Load() != 0 {
			t.Errorf("%d and %d octets are still counted", large.Load(), huge.Load())
		}
	}
}
