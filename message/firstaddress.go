package message

// maxFirstAddress is how much of an address field is looked at for its first address.
const maxFirstAddress = 16 << 10

// FirstMailbox returns the local part of the first address of a From, To or Cc field's
// value, "" without one: the sort key of RFC 5256 section 3. It is the addr-mailbox that
// ENVELOPE shows, so the name of a group where that comes first.
func FirstMailbox(value []byte) string {
	if a := firstAddress(value); a != nil && a.Mailbox != nil {
		return *a.Mailbox
	}
	return ""
}

// FirstDisplayName returns what a client shows of the first address of a field's value:
// its name, decoded, or else the address itself (RFC 5957 section 3).
func FirstDisplayName(value []byte) string {
	a := firstAddress(value)
	if a == nil {
		return ""
	}
	if a.Name != nil {
		if name := DecodeHeader([]byte(*a.Name)); name != "" {
			return name
		}
	}
	switch {
	case a.Mailbox == nil:
		return ""
	case a.Host == nil:
		return *a.Mailbox
	}
	return *a.Mailbox + "@" + *a.Host
}

// firstAddress parses no further than to the end of the first address.
func firstAddress(value []byte) *Address {
	list, _ := parseAddresses(nil, value[:min(len(value), maxFirstAddress)], 1)
	if len(list) == 0 {
		return nil
	}
	return &list[0]
}

// FirstFields returns the value of the first field of each name, in the order of the
// names, which are in lower case; nil where the header has none. The values still
// have their folds.
func FirstFields(header []byte, names ...string) [][]byte {
	values := make([][]byte, len(names))
	missing := len(names)
	for f := range headerFields(header) {
		if !isNamed(f, names...) {
			continue
		}
		name, value, ok := splitField(f)
		if !ok {
			continue
		}
		for i, n := range names {
			if n == name && values[i] == nil {
				values[i] = append([]byte{}, value...) // not nil, though it be empty
				missing--
			}
		}
		if missing == 0 {
			break
		}
	}
	return values
}
