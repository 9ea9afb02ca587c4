package imapd

import (
	"mailcrypt/mailbox"
	"mailcrypt/message"
)

const (
	// previewLength is what RFC 8970 section 3.3 recommends, in characters.
	previewLength = 200
	// lazySize is the largest message whose preview is made for one who asks for it LAZY:
	// it costs little more than a list of envelopes does.
	lazySize = 64 << 10
)

// preview is PREVIEW (RFC 8970). It is made when it is asked for and kept nowhere: it is
// plaintext. NIL is for LAZY alone, where making it would take a while.
func (f *fetching) preview(v *fetchValue) error {
	r := &f.box.reader
	if v.item.kind == itemLazyPreview && !(r.msg != nil && r.uid == v.msg.UID) {
		if size := v.msg.Sizes.Virtual; size == mailbox.Unknown || size > lazySize {
			v.text = []byte("NIL")
			return nil
		}
		if _, err := r.open(f.ctx, v.msg.UID); err != nil {
			return err
		}
	}
	root, err := r.structure()
	if err != nil {
		return err
	}
	text, err := message.Preview(r.msg, root, previewLength)
	v.str = &text
	return err
}
