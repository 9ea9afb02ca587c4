package message

// Placeholders for what an address lacks, the same as Dovecot's: a client that shows
// an address list should see that something was wrong with it.
const (
	missingMailbox = "MISSING_MAILBOX"
	missingHost    = "MISSING_DOMAIN"
	syntaxError    = "SYNTAX_ERROR"
	invalidRoute   = "INVALID_ROUTE"
)

// An addressParser reads an address list (RFC 5322 section 3.4 with the obsolete
// forms), and makes the best of what is broken, as Dovecot's message-address.c.
type addressParser struct {
	l    lexer
	list []Address
	max  int
	a    Address // the address being read
	word []byte
}

// parseAddresses appends to list, which it lets grow to at most limit; cut reports
// that there was more.
func parseAddresses(list []Address, field []byte, limit int) (_ []Address, cut bool) {
	p := addressParser{l: lexer{b: field, keep: true}, list: list, max: limit}
	if p.l.space() == more {
		p.addressList()
	}
	if len(p.list) > limit {
		return p.list[:limit], true
	}
	return p.list, len(p.l.b) > 0 && len(p.list) == limit
}

func (p *addressParser) add() {
	p.list = append(p.list, p.a)
	p.a = Address{}
}

// addFixed adds the address with placeholders for what is missing.
func (p *addressParser) addFixed() {
	if p.a.Mailbox == nil {
		p.a.Mailbox = str(missingMailbox)
	}
	if p.a.Host == nil || *p.a.Host == "" {
		p.a.Host = str(missingHost)
	}
	p.add()
}

func (p *addressParser) addressList() {
	for len(p.list) < p.max {
		if p.address() == end || !p.l.at(',') {
			return
		}
		p.l.b = p.l.b[1:]
		switch p.l.space() {
		case bad:
			p.addFixed() // the list ends in an unfinished comment
			return
		case end:
			return
		}
	}
}

func (p *addressParser) address() state {
	from := p.l.b
	if st := p.group(); st != bad {
		return st
	}
	p.l.b = from
	return p.mailbox()
}

// group reads display-name ":" [mailbox-list] ";". It is bad only where there is no
// group; a broken one is made the best of.
func (p *addressParser) group() state {
	var st state
	if p.word, st = p.l.phrase(p.word[:0]); st != more || p.l.b[0] != ':' {
		return bad
	}
	p.l.b = p.l.b[1:]
	st = p.l.space()
	p.a.Mailbox = str(string(p.word))
	p.add()
	if st == more && p.l.b[0] != ';' {
		for len(p.list) < p.max {
			p.mailbox()
			if !p.l.at(',') {
				break
			}
			p.l.b = p.l.b[1:]
			if p.l.space() != more {
				st = bad
				break
			}
		}
	}
	if st != bad {
		st = bad
		if p.l.at(';') {
			p.l.b = p.l.b[1:]
			st = p.l.space()
		}
	}
	p.add() // all nil: the group's end
	if st == end {
		return end
	}
	return more
}

func (p *addressParser) mailbox() state {
	from := p.l.b
	st := p.nameAddr()
	if st == bad {
		p.l.b = from
		var broken bool
		st, broken = p.addrSpec()
		if broken && p.a.Name == nil && p.a.Mailbox != nil && p.a.Host == nil {
			p.a.Name, p.a.Mailbox = p.a.Mailbox, nil
		}
	}
	p.addFixed()
	return st
}

// nameAddr reads [phrase] "<" address ">".
func (p *addressParser) nameAddr() state {
	var st state
	if p.word, st = p.l.phrase(p.word[:0]); st != more || p.l.b[0] != '<' {
		return bad
	}
	if len(p.word) > 0 {
		p.a.Name = str(string(p.word))
	}
	if p.angle() == bad {
		p.a.Host = str(syntaxError)
	}
	return p.l.left()
}

// angle reads "<" [route ":"] local-part "@" domain ">".
func (p *addressParser) angle() state {
	p.l.b = p.l.b[1:]
	if p.l.space() != more {
		return bad
	}
	if p.l.b[0] == '@' {
		if p.route() == more && p.l.at(':') {
			p.l.b = p.l.b[1:]
		} else {
			p.a.ADL = str(invalidRoute)
			if len(p.l.b) == 0 {
				return bad
			}
		}
		if p.l.space() != more {
			return bad
		}
	}
	if p.l.b[0] != '>' {
		if p.localPart() != more {
			return bad
		}
		if p.l.b[0] == '@' && p.host() != more {
			return bad
		}
	}
	if p.l.b[0] != '>' {
		return bad
	}
	p.l.b = p.l.b[1:]
	return p.l.space()
}

// route reads "@" domain *("," "@" domain), the source route of RFC 822.
func (p *addressParser) route() state {
	p.word = p.word[:0]
	for {
		if len(p.l.b) == 0 {
			return end
		}
		if p.l.b[0] != '@' {
			break
		}
		if len(p.word) > 0 {
			p.word = append(p.word, ',')
		}
		p.word = append(p.word, '@')
		var st state
		if p.word, st = p.l.domain(p.word); st != more {
			return st
		}
		for p.l.space() == more && p.l.b[0] == ',' {
			p.l.b = p.l.b[1:]
		}
	}
	p.a.ADL = str(string(p.word))
	return more
}

func (p *addressParser) localPart() state {
	var st state
	if p.l.b[0] == '"' {
		p.word, st = p.l.quoted(p.word[:0])
	} else {
		p.word, st = p.looseDotAtom(p.word[:0])
	}
	if st != bad {
		p.a.Mailbox = str(string(p.word))
	}
	return st
}

// looseDotAtom is a dot-atom that may also begin or end with dots or have several in
// a row; such addresses exist.
func (p *addressParser) looseDotAtom(dst []byte) ([]byte, state) {
	st := bad
	for {
		for p.l.at('.') {
			dst = append(dst, '.')
			if p.l.b = p.l.b[1:]; len(p.l.b) == 0 {
				return dst, end
			}
			st = more
		}
		if p.l.at('@') {
			return dst, st
		}
		if dst, st = p.l.atom(dst); st != more || p.l.b[0] != '.' {
			return dst, st
		}
	}
}

func (p *addressParser) host() state {
	var st state
	if p.word, st = p.l.domain(p.word[:0]); st != bad {
		p.a.Host = str(string(p.word))
	}
	return st
}

// addrSpec reads local-part "@" domain; a comment becomes the name. Words without an
// at sign are a name. broken reports that it was not a whole address.
func (p *addressParser) addrSpec() (st state, broken bool) {
	p.l.comment = p.l.comment[:0]
	quoted := p.l.b[0] == '"'
	st = p.localPart()
	broken = st != more
	hosted := false
	if st != end && p.l.at('@') {
		hosted = true
		if h := p.host(); h != more {
			st = h
		}
	}
	if len(p.l.comment) > 0 {
		p.a.Name = str(string(p.l.comment))
		return st, broken
	}
	if hosted {
		return st, broken
	}
	p.word = append(p.word, ' ')
	n := len(p.word)
	p.word, _ = p.l.phrase(p.word)
	if len(p.word) != n {
		p.a.Mailbox, p.a.Name = nil, str(string(p.word))
	} else if !quoted {
		p.a.Host = str("")
	}
	return bad, true
}

func str(s string) *string { return &s }
