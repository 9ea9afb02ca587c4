package imapd

import (
	"bytes"
	"context"
	"strings"

	"mailcrypt/mailbox"
	"mailcrypt/message"
	"mailcrypt/sealedcache"
)

// recalledNames are the header fields that are kept together: what mail clients show in lists
// and thread by.
var recalledNames = []string{
	"AUTO-SUBMITTED", "BCC", "CC", "CONTENT-CLASS", "CONTENT-TYPE", "CONTENT-TRANSFER-ENCODING", "DATE", "DISPOSITION-NOTIFICATION-TO",
	"ENVELOPE-TO", "DELIVERED-TO", "FROM", "IMPORTANCE", "IN-REPLY-TO", "LIST-HELP", "LIST-ID", "LIST-POST", "LIST-SUBSCRIBE",
	"LIST-UNSUBSCRIBE", "MAIL-FOLLOWUP-TO", "MAIL-REPLY-TO", "MESSAGE-ID", "MIME-VERSION", "NEWSGROUPS", "ORIGINAL-MESSAGE-ID", "PRECEDENCE",
	"PRIORITY", "REFERENCES", "REPLY-TO", "RETURN-PATH", "SENDER", "SUBJECT", "THREAD-INDEX", "THREAD-TOPIC", "TO", "X-MAILER",
	"X-PRIORITY", "X-SPAM-FLAG", "X-SPAM-LEVEL", "X-SPAM-STATUS",
}

// isRecalled is recalledNames as a set.
var isRecalled = func() map[string]bool {
	set := map[string]bool{}
	for _, n := range recalledNames {
		set[n] = true
	}
	return set
}()

// recalled says in which field of the cache the answer to an item is; 0 where in none.
func (i *fetchItem) recalled() sealedcache.Field {
	switch {
	case i.kind == itemEnvelope:
		return sealedcache.Envelope
	case i.kind == itemBodyStructure:
		return sealedcache.BodyStructure
	case i.kind != itemSection || len(i.path) > 0 || i.what != "HEADER.FIELDS":
		return 0
	}
	for _, n := range i.names {
		if !isRecalled[strings.ToUpper(n)] {
			return 0
		}
	}
	return sealedcache.Headers
}

// recallable reports whether the cache may answer everything that would need the text of a
// message.
func recallable(items []fetchItem) bool {
	some := false
	for k := range items {
		if items[k].kind == itemLazyPreview || items[k].needsText() && items[k].recalled() == 0 {
			return false
		}
		some = some || items[k].needsText()
	}
	return some
}

// remembered prepares the answer for a message whose text need not be read. It returns false
// where the cache does not have all of it, or anything goes wrong.
func (f *fetching) remembered(msg *mailbox.Message) bool {
	f.values, f.scratch, f.recalled, f.held = f.values[:0], f.scratch[:0], f.recalled[:0], 0
	for k := range f.items {
		v := fetchValue{item: &f.items[k], msg: msg}
		if !v.item.needsText() {
			if f.value(&v) != nil {
				return false
			}
		} else if !f.recall(&v) {
			return false
		}
		f.values = append(f.values, v)
	}
	return true
}

// recall takes the answer to an item from the cache.
func (f *fetching) recall(v *fetchValue) bool {
	start := len(f.recalled)
	text, ok := f.box.box.Recall(f.recalled, v.item.recalled(), v.msg.UID)
	if !ok {
		return false
	}
	// An earlier answer that points to what the text outgrew stays as it is there.
	f.recalled = text
	if text = text[start:len(text):len(text)]; v.item.kind == itemSection {
		v.setFields(text)
	} else {
		v.text = text
	}
	return true
}

// learn puts into the cache what the open message has said.
func (f *fetching) learn(v *fetchValue) {
	if field := v.item.recalled(); field != sealedcache.Headers {
		f.box.box.Learn(f.box.reader.msg, field, v.text)
	} else if head, err := f.box.reader.topHeader(); err == nil {
		f.box.reader.learnHeader(head)
	}
}

// learnHeader puts the usual fields of the open message's header into the cache.
func (r *reader) learnHeader(head []byte) {
	if len(head) < maxHeader && bytes.HasSuffix(head, []byte("\n\r\n")) {
		// Of a header without an end, the fields chosen would end otherwise.
		r.box.Learn(r.msg, sealedcache.Headers, message.HeaderFields(head, recalledNames, false))
	}
}

// usualHeader returns a header that has at least the fields of recalledNames: from the cache,
// or of the message itself. It is valid until the next use of the reader.
func (r *reader) usualHeader(ctx context.Context, uid mailbox.UID) ([]byte, error) {
	open := r.msg != nil && r.uid == uid
	if !open {
		if head, ok := r.box.Recall(r.recalled[:0], sealedcache.Headers, uid); ok {
			r.recalled = head
			return head, nil
		}
		if _, err := r.open(ctx, uid); err != nil {
			return nil, err
		}
	}
	head, err := r.topHeader()
	if err == nil && !open {
		r.learnHeader(head)
	}
	return head, err
}
