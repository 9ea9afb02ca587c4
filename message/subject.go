package message

import "strings"

// maxSubject is how much of a Subject field is looked at.
const maxSubject = 16 << 10

// BaseSubject returns the base subject of a Subject field's value (RFC 5256 section
// 2.1), in the form of [Casemap], and whether the subject is that of a reply or a
// forward: something of subj-refwd, "(fwd)" or "[fwd: ]" was taken off. The text is
// mapped before it is taken apart, as in Dovecot, so that a full-width "Ｒｅ：" counts.
// The time is linear, and only the first 16 KiB of the value count.
func BaseSubject(value []byte) (base string, reply bool) {
	s := packSpace(Casemap(DecodeHeader(value[:min(len(value), maxSubject)])))
	for {
		var fwd bool
		s, fwd = cutTrailers(s) // step 2
		reply = reply || fwd
		s, fwd = cutLeaders(s) // steps 3 to 5
		reply = reply || fwd
		// Step 6.
		if !strings.HasPrefix(s, "[FWD:") || !strings.HasSuffix(s, "]") {
			return s, reply
		}
		s, reply = s[len("[FWD:"):len(s)-1], true
	}
}

// packSpace makes each run of white space one space (step 1).
func packSpace(s string) string {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		if c == '\t' || c == '\r' || c == '\n' {
			c = ' '
		}
		if c == ' ' && len(b) > 0 && b[len(b)-1] == ' ' {
			continue
		}
		b = append(b, c)
	}
	return string(b)
}

// cutTrailers takes off every subj-trailer.
func cutTrailers(s string) (rest string, fwd bool) {
	for {
		s = strings.TrimRight(s, " ")
		t, ok := strings.CutSuffix(s, "(FWD)")
		if !ok {
			return s, fwd
		}
		s, fwd = t, true
	}
}

// cutLeaders takes off every subj-leader, and every subj-blob that does not leave an
// empty text. Where no subj-refwd follows a run of blobs none follows its tail either,
// so the run is looked through once, not once a blob.
func cutLeaders(s string) (rest string, refwd bool) {
	for {
		s = strings.TrimLeft(s, " ")
		run := s
		last := s // from the last blob of the run on
		for {
			next, ok := cutBlob(run)
			if !ok {
				break
			}
			last, run = run, next
		}
		next, ok := cutRefwd(run)
		switch {
		case ok:
			s, refwd = next, true
		case run == "":
			return last, refwd
		default:
			return run, refwd
		}
	}
}

// cutBlob takes off a subj-blob: "[" *BLOBCHAR "]" *WSP.
func cutBlob(s string) (rest string, ok bool) {
	if !strings.HasPrefix(s, "[") {
		return s, false
	}
	i := strings.IndexAny(s[1:], "[]")
	if i < 0 || s[1+i] == '[' {
		return s, false
	}
	return strings.TrimLeft(s[1+i+1:], " "), true
}

// cutRefwd takes off a subj-refwd: ("re" / ("fw" ["d"])) *WSP [subj-blob] ":".
func cutRefwd(s string) (rest string, ok bool) {
	t, ok := strings.CutPrefix(s, "RE")
	if !ok {
		if t, ok = strings.CutPrefix(s, "FW"); !ok {
			return s, false
		}
		t = strings.TrimPrefix(t, "D")
	}
	t, _ = cutBlob(strings.TrimLeft(t, " "))
	if !strings.HasPrefix(t, ":") {
		return s, false
	}
	return t[1:], true
}
