package maildir

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"mailcrypt/mailbox"
)

const (
	keywordsName = "dovecot-keywords"
	// maxKeywords is how many letters there are: a to z.
	maxKeywords = 26
	// maxSmallFile bounds the files that are read whole: keywords, subscriptions.
	maxSmallFile = 16 << 20
)

// keywords is dovecot-keywords: the name for each letter, "" where there is none.
type keywords [maxKeywords]string

// parseKeywords reads lines of an index, a space and a name. Lines that are not well-formed
// are left out, and of two names for one letter the first counts, as in Dovecot.
func parseKeywords(r io.Reader) (keywords, error) {
	var k keywords
	s := newLineScanner(io.LimitReader(r, maxSmallFile))
	defer s.release()
	for s.next() {
		num, name, ok := strings.Cut(string(s.line), " ")
		n, err := strconv.ParseUint(num, 10, 8)
		if ok && err == nil && n < maxKeywords && name != "" && k[n] == "" {
			k[n] = name
		}
	}
	return k, s.err
}

// write is the inverse of parseKeywords.
func (k *keywords) write(w io.Writer) error {
	for i, name := range k {
		if name == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%d %s\n", i, name); err != nil {
			return err
		}
	}
	return nil
}

// name returns the keyword of a letter. Dovecot makes one up for a letter without line.
func (k *keywords) name(letter byte) string {
	if name := k[letter-'a']; name != "" {
		return name
	}
	return "unknown-" + strconv.Itoa(int(letter-'a'))
}

// find returns the letter of a keyword.
func (k *keywords) find(name string) (byte, bool) {
	for i := range k {
		if strings.EqualFold(k.name('a'+byte(i)), name) {
			return 'a' + byte(i), true
		}
	}
	return 0, false
}

// add gives letters to those of the names that have none, the first free ones; used tells
// which letters stand in file names and so are not free even without a line. Nothing is
// changed where the error wraps mailbox.ErrLimit.
func (k *keywords) add(names []string, used func(letter byte) bool) (letters string, changed bool, err error) {
	was := *k
	for _, name := range names {
		if err := mailbox.CheckKeyword(name); err != nil {
			return "", false, err
		}
	}
	b := make([]byte, 0, len(names))
	for _, name := range names {
		letter, ok := k.find(name)
		// A made-up name is a keyword only where its letter is used.
		if ok && k[letter-'a'] == "" && !used(letter) {
			ok = false
		}
		if !ok {
			letter = 0
			for i := range k {
				if k[i] == "" && !used('a'+byte(i)) {
					letter = 'a' + byte(i)
					break
				}
			}
			if letter == 0 {
				*k = was
				return "", false, fmt.Errorf("maildir: %w: a mailbox has %d keywords at most", mailbox.ErrLimit, maxKeywords)
			}
			k[letter-'a'] = name
		}
		b = append(b, letter)
	}
	if *k == was {
		return string(b), false, nil
	}
	for i := range k { // as Dovecot does when it sees such a letter
		if l := 'a' + byte(i); k[i] == "" && used(l) {
			k[i] = k.name(l)
		}
	}
	return string(b), true, nil
}
