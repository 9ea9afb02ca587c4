package imapd

import (
	"context"
	"slices"
	"strings"

	"mailcrypt/mailbox"
	"mailcrypt/metadata"
)

const maxPatterns = 100

// listArgs is a LIST, extended or not (RFC 5258, RFC 9051 section 6.3.9).
type listArgs struct {
	reference string
	patterns  []string

	subscribed, recursive, special bool // selection options

	extended         bool // a list of options was given
	returnSubscribed bool
	returnChildren   bool // what the basic form always shows
	returnUse        bool
	returnStatus     []string
	returnMetadata   []metadata.Entry
}

// list is LIST. Options before the names select, options after RETURN only add to what is
// shown; either, or several patterns, make it the extended form.
func (s *session) list(*call) error {
	a := &listArgs{}
	d := s.dec
	if err := d.SP(); err != nil {
		return err
	}
	if d.Peek() == '(' {
		a.extended = true
		if err := d.List(func() error { return s.listSelection(a) }); err != nil {
			return err
		}
		if a.recursive && !a.subscribed && !a.special {
			return bad("RECURSIVEMATCH needs another selection option.")
		}
		if err := d.SP(); err != nil {
			return err
		}
	}
	if err := s.listPatterns(a); err != nil {
		return err
	}
	if !d.AtEnd() {
		if err := d.SP(); err != nil {
			return err
		}
		if !d.TryWord("RETURN") {
			return bad("Unknown LIST argument.")
		}
		a.extended = true
		if err := d.SP(); err != nil {
			return err
		}
		if err := d.List(func() error { return s.listReturn(a) }); err != nil {
			return err
		}
	}
	if err := d.End(); err != nil {
		return err
	}
	if len(a.patterns) == 1 && a.patterns[0] == "" && !a.extended {
		// RFC 3501 section 6.3.8: only the separator and the root are asked for.
		s.enc.Raw(`* LIST (\Noselect) `)
		s.writeSeparator()
		s.enc.Raw(` ""`).CRLF()
		return nil
	}
	return s.runList(a)
}

// listSelection reads one selection option (RFC 5258 section 3.1, RFC 6154).
func (s *session) listSelection(a *listArgs) error {
	o, err := s.dec.Keyword()
	if err != nil {
		return err
	}
	switch o {
	case "SUBSCRIBED":
		a.subscribed, a.returnSubscribed = true, true
	case "RECURSIVEMATCH":
		a.recursive = true
	case "SPECIAL-USE":
		a.special, a.returnUse = true, true
	case "REMOTE": // there are none
	default:
		return bad("Unknown LIST selection option.")
	}
	return nil
}

// listReturn reads one return option (RFC 5258 section 3.2, RFC 5819).
func (s *session) listReturn(a *listArgs) error {
	o, err := s.dec.Keyword()
	if err != nil {
		return err
	}
	switch o {
	case "SUBSCRIBED":
		a.returnSubscribed = true
	case "CHILDREN":
		a.returnChildren = true
	case "SPECIAL-USE":
		a.returnUse = true
	case "STATUS":
		if err := s.dec.SP(); err != nil {
			return err
		}
		a.returnStatus, err = s.statusItems()
		return err
	case "METADATA": // RFC 9590
		if err := s.dec.SP(); err != nil {
			return err
		}
		if err := s.metadataEntries(&a.returnMetadata); err != nil {
			return err
		}
		if len(a.returnMetadata) == 0 {
			return bad("Missing entry names.")
		}
		if !s.login.HasMetadata() {
			return errNoMetadata
		}
	default:
		return bad("Unknown LIST return option.")
	}
	return nil
}

// listPatterns reads the reference name and one pattern or several in parentheses.
func (s *session) listPatterns(a *listArgs) error {
	d := s.dec
	ref, err := d.AString()
	if err != nil {
		return err
	}
	a.reference = string(ref)
	if err := d.SP(); err != nil {
		return err
	}
	one := func() error {
		p, err := d.ListMailbox()
		if err != nil {
			return err
		}
		if len(p)+len(ref) > maxPattern || len(a.patterns) >= maxPatterns {
			return bad("Mailbox pattern too long or too many patterns.")
		}
		a.patterns = append(a.patterns, string(p))
		return nil
	}
	if d.Peek() == '(' {
		a.extended = true
		return d.List(one)
	}
	return one()
}

// A listed is a name that LIST may show.
type listed struct {
	name       string
	exists     bool
	selectable bool
	subscribed bool
	children   bool // has children that exist
	use        string
	oldName    string // before a rename that NOTIFY tells of
	// below is set where a child that the pattern does not match is selected: the
	// CHILDINFO of RECURSIVEMATCH.
	below []string
}

// folders returns everything that exists or is subscribed, sorted by name, INBOX first.
func (s *session) folders(ctx context.Context) ([]*listed, map[string]*listed, error) {
	existing, err := s.login.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	subscriptions, err := s.login.Subscriptions(ctx)
	if err != nil {
		return nil, nil, err
	}
	sep := s.login.Separator()
	byName := make(map[string]*listed, len(existing)+len(subscriptions))
	for _, f := range existing {
		byName[f.Name] = &listed{name: f.Name, exists: true, selectable: f.Selectable}
	}
	if byName[mailbox.Inbox] == nil {
		// Everyone has an INBOX, made or not (RFC 9051 section 5.1).
		byName[mailbox.Inbox] = &listed{name: mailbox.Inbox, exists: true, selectable: true}
	}
	for _, f := range existing {
		if p := byName[mailbox.ParentName(f.Name, sep)]; p != nil {
			p.children = true
		}
	}
	for _, n := range subscriptions {
		f := byName[n]
		if f == nil {
			f = &listed{name: n}
			byName[n] = f
		}
		f.subscribed = true
	}
	for name, use := range s.login.SpecialUse() {
		if f := byName[name]; f != nil && f.selectable {
			f.use = use
		}
	}
	all := make([]*listed, 0, len(byName))
	for _, f := range byName {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *listed) int {
		if i, j := a.name == mailbox.Inbox, b.name == mailbox.Inbox; i != j {
			if i {
				return -1
			}
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	return all, byName, nil
}

// compile turns reference and patterns into matchers. A pattern that is no name in
// its encoding matches nothing.
func (s *session) compile(reference string, patterns []string) []*pattern {
	var out []*pattern
	for _, p := range patterns {
		name, err := decodeName(reference+p, s.enc.UTF8)
		if err != nil {
			continue
		}
		out = append(out, newPattern(name, s.login.Separator()))
	}
	return out
}

// matchAny reports whether one of the patterns matches.
func matchAny(patterns []*pattern, name string) bool {
	return slices.ContainsFunc(patterns, func(p *pattern) bool { return p.match(name) })
}

// runList shows what is selected and matches, each name once.
func (s *session) runList(a *listArgs) error {
	all, byName, err := s.folders(s.ctx)
	if err != nil {
		return err
	}
	patterns := s.compile(a.reference, a.patterns)
	picked := func(f *listed) bool {
		return (f.exists || a.subscribed) && (!a.subscribed || f.subscribed) && (!a.special || f.use != "")
	}
	if a.recursive {
		all = s.markParents(all, byName, patterns, picked, a)
	}
	for _, f := range all {
		if len(f.below) == 0 && !picked(f) || !matchAny(patterns, f.name) {
			continue
		}
		s.writeListed("LIST", f, a)
		if len(a.returnStatus) > 0 && f.selectable {
			// A mailbox that cannot be opened now has no STATUS, but is listed.
			if err := s.statusResponse(f.name, a.returnStatus); err != nil {
				s.log.Error("STATUS for LIST", "err", err)
			}
		}
		if len(a.returnMetadata) > 0 && f.selectable {
			values, err := s.login.Metadata(s.ctx, f.name, a.returnMetadata, 0)
			if err != nil {
				s.log.Error("METADATA for LIST", "err", err)
			}
			s.writeMetadata(f.name, values, -1)
		}
	}
	return nil
}

// markParents notes at each name that the patterns match which selected names lie
// below it without matching. A parent that does not exist is added.
func (s *session) markParents(all []*listed, byName map[string]*listed, patterns []*pattern, picked func(*listed) bool, a *listArgs) []*listed {
	info := ""
	if a.subscribed {
		info = "SUBSCRIBED"
	} else if a.special {
		info = "SPECIAL-USE"
	}
	for _, f := range slices.Clone(all) {
		if !picked(f) || matchAny(patterns, f.name) {
			continue
		}
		sep := s.login.Separator()
		for p := mailbox.ParentName(f.name, sep); p != ""; p = mailbox.ParentName(p, sep) {
			if !matchAny(patterns, p) {
				continue
			}
			parent := byName[p]
			if parent == nil {
				parent = &listed{name: p}
				byName[p] = parent
				all = append(all, parent)
			}
			parent.below = []string{info}
		}
	}
	return all
}

// writeListed sends one LIST response. A level without a mailbox is \Noselect, in the
// extended form \NonExistent like a subscribed name with nothing behind it (RFC 5258 section
// 3). As in Dovecot the basic form shows children and roles, the extended one if asked.
func (s *session) writeListed(response string, f *listed, a *listArgs) {
	var attrs []string
	switch {
	case !f.exists, !f.selectable && a.extended:
		attrs = append(attrs, `\NonExistent`)
	case !f.selectable:
		attrs = append(attrs, `\Noselect`)
	}
	switch {
	case a.extended && !a.returnChildren:
	case f.children:
		attrs = append(attrs, `\HasChildren`)
	default:
		attrs = append(attrs, `\HasNoChildren`)
	}
	if f.subscribed && a.returnSubscribed {
		attrs = append(attrs, `\Subscribed`)
	}
	if f.use != "" && (!a.extended || a.returnUse) {
		attrs = append(attrs, f.use)
	}
	s.enc.Raw("* ").Raw(response).Raw(" (").Raw(strings.Join(attrs, " ")).Raw(") ")
	s.writeSeparator()
	s.enc.SP().Mailbox(f.name)
	if len(f.below) > 0 {
		s.enc.Raw(` (CHILDINFO ("`).Raw(strings.Join(f.below, `" "`)).Raw(`"))`)
	}
	if f.oldName != "" {
		s.enc.Raw(` ("OLDNAME" (`).Mailbox(f.oldName).Raw("))")
	}
	s.enc.CRLF()
}

// lsub is LSUB of RFC 3501 section 6.3.9: where "%" stops above a subscribed name, the
// level above it is shown as \Noselect.
func (s *session) lsub(*call) error {
	a := &listArgs{}
	if err := s.dec.SP(); err != nil {
		return err
	}
	if err := s.listPatterns(a); err != nil {
		return err
	}
	if err := s.dec.End(); err != nil {
		return err
	}
	if a.extended {
		return bad("LSUB takes one pattern.")
	}
	all, _, err := s.folders(s.ctx)
	if err != nil {
		return err
	}
	patterns := s.compile(a.reference, a.patterns)
	sep := s.login.Separator()
	wild := strings.Contains(a.patterns[0], "%")
	shown := map[string]bool{}
	show := func(name, attr string) {
		if shown[name] {
			return
		}
		shown[name] = true
		s.enc.Raw("* LSUB (").Raw(attr).Raw(") ")
		s.writeSeparator()
		s.enc.SP().Mailbox(name).CRLF()
	}
	for _, f := range all {
		if f.subscribed && matchAny(patterns, f.name) {
			show(f.name, "")
		}
	}
	for _, f := range all {
		if !f.subscribed || shown[f.name] {
			continue
		}
		for p := mailbox.ParentName(f.name, sep); p != ""; p = mailbox.ParentName(p, sep) {
			if wild && matchAny(patterns, p) {
				show(p, `\Noselect`)
			}
		}
	}
	return nil
}
