package main

import (
	"fmt"
	"strings"
)

// Kinds of users. Names are a kind and a number.
const (
	sealed  = 's' // a password seals the user key
	open    = 'o' // the user key is stored in clear: logins cost no PBKDF2
	shared  = 'd' // mailcryptd uses Dovecot's file of keys
	inClear = 'c' // mail is stored in clear
	perKind = 3000

	password = "pass"
	secret   = "sesame" // seals the user key
)

// passwd is the passwd-file of both servers.
func passwd() string {
	var w strings.Builder
	const seal = " userdb_mail_crypt_private_password=" + secret
	for kind, fields := range map[rune]string{
		sealed:  seal,
		open:    "",
		shared:  seal + " userdb_mail_attribute_dict=file:~/dovecot-attributes",
		inClear: " userdb_mail_crypt_save_version=0",
	} {
		for n := range perKind {
			fmt.Fprintf(&w, "%c%d:{PLAIN}%s::::::%s\n", kind, n, password, strings.TrimSpace(fields))
		}
	}
	return w.String()
}

// A subject is a server with users of one kind.
type subject struct {
	label string
	*server
	kind  rune
	taken *int // of its users
}

// fresh takes n users that nobody has used.
func (s subject) fresh(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%c%d", s.kind, *s.taken)
		*s.taken = (*s.taken + 1) % perKind
	}
	return names
}
