package mailbox

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is a View as a plain sorted list.
type model struct {
	msgs    []*Message
	next    UID
	highest ModSeq
}

func (m *model) find(uid UID) (int, bool) {
	return slices.BinarySearchFunc(m.msgs, uid, func(a *Message, u UID) int { return int(a.UID) - int(u) })
}

func (m *model) clone() model { return model{slices.Clone(m.msgs), m.next, m.highest} }

// check compares every accessor of v with the model.
func (m *model) check(t *rapid.T, v *View) {
	if v.Len() != len(m.msgs) || v.UIDNext != m.next || v.HighestModSeq != m.highest {
		t.Fatalf("Len %d UIDNext %d HighestModSeq %d, want %d %d %d",
			v.Len(), v.UIDNext, v.HighestModSeq, len(m.msgs), m.next, m.highest)
	}
	n := 0
	for i, msg := range v.All() {
		if i != n || msg != m.msgs[i] || v.At(i) != msg || v.Get(msg.UID) != msg {
			t.Fatalf("message %d is not the model's", i)
		}
		n++
	}
	if n != len(m.msgs) {
		t.Fatalf("All yielded %d of %d", n, len(m.msgs))
	}
	for _, uid := range []UID{0, 1, m.next / 2, m.next, m.next + 7} {
		wi, wok := m.find(uid)
		if i, ok := v.Find(uid); i != wi || ok != wok {
			t.Fatalf("Find(%d) = %d, %v; want %d, %v", uid, i, ok, wi, wok)
		}
		if got := v.Get(uid); (got != nil) != wok {
			t.Fatalf("Get(%d) = %v", uid, got)
		}
	}
	var counts Counts
	first, keywords := -1, []string(nil)
	for i, msg := range m.msgs {
		if msg.Flags.System&Seen == 0 {
			if counts.Unseen++; first < 0 {
				first = i
			}
		}
		if msg.Flags.System&Recent != 0 {
			counts.Recent++
		}
		if msg.Flags.System&Deleted != 0 {
			counts.Deleted++
		}
		for _, k := range msg.Flags.Keywords {
			if !slices.Contains(keywords, k) {
				keywords = append(keywords, k)
			}
		}
	}
	if v.Counts() != counts || v.FirstUnseen() != first || !slices.Equal(v.Keywords(), keywords) {
		t.Fatalf("%+v, first unseen %d, keywords %q; want %+v, %d, %q", v.Counts(), v.FirstUnseen(), v.Keywords(), counts, first, keywords)
	}
	// In order and in any other, with UIDs that are not there.
	find, uids := v.Finder(), []UID{m.next, 0}
	for _, msg := range m.msgs[len(m.msgs)/3 : min(len(m.msgs)/3+300, len(m.msgs))] { // over the end of a chunk
		if uids = append(uids, msg.UID); msg.UID%3 == 0 {
			uids = append(uids, msg.UID+1, msg.UID/2)
		}
	}
	for k, uid := range uids {
		if k%2 == 0 && v.Get(uid) != find.Get(uid) {
			t.Fatalf("Get(%d) of a Finder is another one", uid)
		}
		wi, wok := m.find(uid)
		if i, ok := find.Find(uid); i != wi || ok != wok {
			t.Fatalf("Find(%d) of a Finder = %d, %v; want %d, %v", uid, i, ok, wi, wok)
		}
	}
}

// diff is what Diff ought to yield.
func (m *model) diff(old *model) []Change {
	var out []Change
	i, j := 0, 0
	for i < len(old.msgs) || j < len(m.msgs) {
		switch {
		case j == len(m.msgs) || i < len(old.msgs) && old.msgs[i].UID < m.msgs[j].UID:
			out = append(out, Change{Expunged, i, old.msgs[i], nil})
			i++
		case i == len(old.msgs) || m.msgs[j].UID < old.msgs[i].UID:
			out = append(out, Change{Added, j, nil, m.msgs[j]})
			j++
		default:
			if a, b := old.msgs[i], m.msgs[j]; a.ModSeq != b.ModSeq || !a.Flags.Equal(b.Flags) {
				out = append(out, Change{Changed, j, a, b})
			}
			i++
			j++
		}
	}
	return out
}

func TestViewAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			v *View
			m model
		}
		// Lengths around the chunk borders matter most.
		first := rapid.SampledFrom([]int{0, 1, 255, 256, 257, 511, 512, 513, 1000}).Draw(t, "first")
		m := model{next: 1, highest: 1}
		for range first {
			m.next += UID(rapid.IntRange(0, 1).Draw(t, "gap"))
			m.msgs = append(m.msgs, &Message{UID: m.next, ModSeq: 1})
			m.next++
		}
		v := NewView(View{GUID: GUID{1}, UIDValidity: 9, UIDNext: m.next, HighestModSeq: 1}, slices.Clone(m.msgs))
		versions := []version{{v, m.clone()}}
		t.Repeat(map[string]func(*rapid.T){
			"replace": func(t *rapid.T) {
				var msgs []*Message
				if len(m.msgs) > 0 {
					at := rapid.SliceOfNDistinct(rapid.IntRange(0, len(m.msgs)-1), 0, min(20, len(m.msgs)), rapid.ID[int]).Draw(t, "at")
					slices.Sort(at)
					for _, i := range at {
						c := *m.msgs[i]
						c.Flags.System ^= rapid.SampledFrom([]SystemFlags{Seen, Recent, Deleted | Seen}).Draw(t, "flag")
						if k := rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(t, "keyword"); k != "" {
							c.Flags.Keywords = []string{k}
						}
						if rapid.Bool().Draw(t, "modseq") {
							c.ModSeq = m.highest + 1
						}
						msgs = append(msgs, &c)
						m.msgs[i] = &c
					}
				}
				for range rapid.SampledFrom([]int{0, 1, 2, 255, 300}).Draw(t, "added") {
					msg := &Message{UID: m.next + UID(len(msgs)%2), ModSeq: m.highest + 1}
					m.next = msg.UID + 1
					m.msgs = append(m.msgs, msg)
					msgs = append(msgs, msg)
				}
				for _, msg := range msgs {
					m.highest = max(m.highest, msg.ModSeq)
				}
				v = v.Replace(msgs...)
			},
			"remove": func(t *rapid.T) {
				lo := UID(rapid.IntRange(0, int(m.next)).Draw(t, "from"))
				n := UID(rapid.SampledFrom([]int{0, 1, 3, 256, 600}).Draw(t, "count"))
				step := UID(rapid.IntRange(1, 3).Draw(t, "step"))
				var uids []UID
				for u := lo; u < lo+n; u += step {
					uids = append(uids, u)
				}
				m.msgs = slices.DeleteFunc(slices.Clone(m.msgs), func(a *Message) bool { return slices.Contains(uids, a.UID) })
				highest := ModSeq(rapid.IntRange(0, 40).Draw(t, "highest"))
				m.highest = max(m.highest, highest)
				v = v.Remove(highest, uids...)
			},
			"": func(t *rapid.T) {
				m.check(t, v)
				if v.GUID != (GUID{1}) || v.UIDValidity != 9 {
					t.Fatal("the header was lost")
				}
				versions = append(versions, version{v, m.clone()})
				old := versions[rapid.IntRange(0, len(versions)-1).Draw(t, "old")]
				old.m.check(t, old.v) // later versions have not touched it
				if got, want := slices.Collect(v.Diff(old.v)), m.diff(&old.m); !slices.Equal(got, want) {
					t.Fatalf("Diff yields %d changes, want %d", len(got), len(want))
				}
			},
		})
	})
}

func TestDiffStops(t *testing.T) {
	v := NewView(View{}, []*Message{{UID: 1}, {UID: 2}})
	n := 0
	for range v.Diff(&View{}) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d changes", n)
	}
}

func TestReplaceBelowLast(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a UID inserted in the middle did not panic")
		}
	}()
	NewView(View{}, []*Message{{UID: 1}, {UID: 3}}).Replace(&Message{UID: 2})
}

func BenchmarkReplace(b *testing.B) {
	msgs := make([]*Message, 100_000)
	for i := range msgs {
		msgs[i] = &Message{UID: UID(i + 1)}
	}
	v := NewView(View{UIDNext: 100_001}, msgs)
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			v.Replace(&Message{UID: 50_000})
		}
	})
	b.Run("append100k", func(b *testing.B) {
		for b.Loop() {
			(&View{}).Replace(msgs...)
		}
	})
}

func TestFlags(t *testing.T) {
	f := ParseFlags([]string{`\seen`, "work", "$Junk", "Work", `\Nonsense`})
	if got := f.Names(); !slices.Equal(got, []string{`\Seen`, "$Junk", "work"}) {
		t.Errorf("ParseFlags gave %q", got)
	}
	f.System |= Recent
	for _, tt := range []struct {
		op   FlagOp
		arg  []string
		want []string
	}{
		{AddFlags, []string{`\Deleted`, "WORK", "x", `\Recent`}, []string{`\Deleted`, `\Seen`, `\Recent`, "$Junk", "work", "x"}},
		{RemoveFlags, []string{`\Seen`, "WORK", `\Recent`}, []string{`\Recent`, "$Junk"}},
		{ReplaceFlags, []string{`\Draft`}, []string{`\Draft`, `\Recent`}},
	} {
		c := FlagChange{Op: tt.op, Flags: ParseFlags(tt.arg)}
		if got := c.Apply(f); !slices.Equal(got.Names(), tt.want) {
			t.Errorf("%v %q gives %q, want %q", tt.op, tt.arg, got.Names(), tt.want)
		}
	}
	if !slices.Equal(f.Keywords, []string{"$Junk", "work"}) {
		t.Errorf("Apply changed its argument: %q", f.Keywords)
	}
}
