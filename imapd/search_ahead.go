package imapd

import (
	"slices"
	"strings"

	"mailcrypt/mailbox"
	"mailcrypt/sealedcache"
)

// plan is what a finding will read: the texts of those messages whose flags, numbers and
// sizes leave the question open.
func (f *finding) plan() readPlan {
	var need textNeed
	need.gather(f.matcher.program)
	if f.headers {
		need.usual = true
	}
	switch {
	case need.dates:
		// Whether a text will be wanted is not known without looking at each file.
		return readPlan{}
	case need.bodies && (need.usual || need.header):
		// A header that does not match, which the cache may know, spares the body.
		return readPlan{}
	case !need.bodies && !need.usual && !need.header:
		return readPlan{}
	}
	view := f.box.view
	dry := &matcher{session: f.session, program: f.matcher.program, dry: true}
	p := readPlan{n: view.Len(), at: func(k int) *mailbox.Message {
		if t := dry.match(k); t == unknown || t == trueTruth && f.headers {
			return view.At(k)
		}
		return nil
	}}
	if need.usual && !need.header {
		p.fields = []sealedcache.Field{sealedcache.Headers}
	}
	return p
}

// A textNeed says what the keys of a program look at.
type textNeed struct {
	dates  bool // of receiving or saving
	usual  bool // the usual fields of headers, which the cache has
	header bool // other ones
	bodies bool
}

func (n *textNeed) gather(k *searchKey) {
	switch {
	case k.kind == keyAnd || k.kind == keyOr || k.kind == keyNot:
	case k.kind >= keyBody:
		n.bodies = true
	case k.kind == keyHeader && !isRecalled[strings.ToUpper(k.field)]:
		n.header = true
	case k.kind == keyHeader || slices.Contains([]keyKind{keySentBefore, keySentOn, keySentSince}, k.kind):
		n.usual = true
	case k.kind >= keyBefore && k.kind != keyLarger && k.kind != keySmaller:
		n.dates = true
	}
	for _, sub := range k.sub {
		n.gather(sub)
	}
}

// guess is the answer to a key that looks at more than the view, as far as the view tells.
func (m *matcher) guess(k *searchKey) truth {
	switch n := m.msg.Sizes.Virtual; {
	case n < 0:
	case k.kind == keyLarger:
		return truthOf(n > k.number)
	case k.kind == keySmaller:
		return truthOf(n < k.number)
	}
	return unknown
}
