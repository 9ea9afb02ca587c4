package main

import (
	"strconv"
	"strings"
	"time"

	"mailcrypt/admin"
)

// A field is one thing that is known of a message.
type field struct {
	name string
	text func(admin.FetchResult) string
	// counted, where set, says that the message must be read for it.
	counted func(admin.FetchResult) bool
}

// fieldsHelp names the fields for people.
const fieldsHelp = `  user mailbox mailbox-guid seq uid guid flags
  size.physical size.virtual size.stored
  date.received date.saved date.received.unixtime date.saved.unixtime
  crypt.version crypt.cipher crypt.keys      how it is encrypted: 0 and nothing where in the clear`

// fetchFields have Dovecot's names and forms (doveadm-mail-fetch.c), but for size.stored and
// crypt, which it does not have.
func fetchFields() []field {
	encryption := func(fn func(*admin.Encryption) string, none string) func(admin.FetchResult) string {
		return func(r admin.FetchResult) string {
			if r.Encryption == nil {
				return none
			}
			return fn(r.Encryption)
		}
	}
	return []field{
		{name: "user", text: func(r admin.FetchResult) string { return r.User }},
		{name: "mailbox", text: func(r admin.FetchResult) string { return r.Mailbox }},
		{name: "mailbox-guid", text: func(r admin.FetchResult) string { return r.MailboxGUID }},
		{name: "seq", text: func(r admin.FetchResult) string { return strconv.Itoa(r.Seq) }},
		{name: "uid", text: func(r admin.FetchResult) string { return strconv.FormatUint(uint64(r.UID), 10) }},
		{name: "guid", text: func(r admin.FetchResult) string { return r.GUID }},
		{name: "flags", text: func(r admin.FetchResult) string { return strings.Join(r.Flags, " ") }},
		{name: "size.physical", text: func(r admin.FetchResult) string { return sizeText(r.Physical) },
			counted: func(r admin.FetchResult) bool { return r.Physical == nil }},
		{name: "size.virtual", text: func(r admin.FetchResult) string { return sizeText(r.Virtual) },
			counted: func(r admin.FetchResult) bool { return r.Virtual == nil }},
		{name: "size.stored", text: func(r admin.FetchResult) string { return strconv.FormatInt(r.Stored, 10) }},
		{name: "date.received", text: func(r admin.FetchResult) string { return dateText(r.Received) }},
		{name: "date.saved", text: func(r admin.FetchResult) string { return dateText(r.Saved) }},
		{name: "date.received.unixtime", text: func(r admin.FetchResult) string { return strconv.FormatInt(r.Received.Unix(), 10) }},
		{name: "date.saved.unixtime", text: func(r admin.FetchResult) string { return strconv.FormatInt(r.Saved.Unix(), 10) }},
		{name: "crypt.version", text: encryption(func(e *admin.Encryption) string { return strconv.Itoa(e.Version) }, "0")},
		{name: "crypt.cipher", text: encryption(func(e *admin.Encryption) string { return e.Cipher }, "")},
		{name: "crypt.keys", text: encryption(func(e *admin.Encryption) string { return strings.Join(e.Keys, " ") }, "")},
	}
}

// parseFields takes a list of names.
func parseFields(list string) (fields []field, err error) {
	all := fetchFields()
	for _, name := range strings.FieldsFunc(list, func(r rune) bool { return r == ' ' || r == ',' }) {
		found := false
		for _, f := range all {
			if f.name == strings.ToLower(name) {
				fields, found = append(fields, f), true
			}
		}
		if !found {
			names := make([]string, len(all))
			for i, f := range all {
				names[i] = f.name
			}
			return nil, usage("there is no field %q; there are %s, and for the text --header, --body or neither", clean(name), strings.Join(names, " "))
		}
	}
	if list != "" && len(fields) == 0 {
		return nil, usage("--fields names no field")
	}
	return fields, nil
}

func sizeText(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

// dateText is a date as Dovecot prints it: in local time.
func dateText(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
