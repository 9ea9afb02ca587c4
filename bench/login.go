package main

import "fmt"

// loggingIn: connect, LOGIN, SELECT, LOGOUT. Passwords are {PLAIN}, so that no hash counts;
// a sealed user key is opened by 2048 rounds in both.
func (b *bench) loggingIn() (list []work) {
	for _, kind := range []struct {
		name string
		kind rune
	}{{"open", open}, {"sealed", sealed}} {
		for _, conns := range []int{1, 8, 64} {
			list = append(list, b.logins(kind.name, kind.kind, conns))
		}
	}
	return list
}

func (b *bench) logins(name string, kind rune, conns int) work {
	each := max(b.n(1024)/conns, 1)
	users := map[string][]string{} // of this work, by server: logins leave nothing
	return work{
		name: fmt.Sprintf("login/%s/%dc", name, conns), unit: "login", count: conns * each,
		subjects: []subject{b.subject(b.dove, kind), b.subject(b.ours, kind)},
		prepare: func(s subject, _ bool) (func() error, func(), error) {
			if users[s.label] == nil {
				var err error
				if users[s.label], err = b.ready(s, conns); err != nil {
					return nil, nil, err
				}
			}
			return func() error {
				return atOnce(conns, func(i int) error {
					for range each {
						c, err := loginIMAP(s.imap, users[s.label][i], "INBOX")
						if err != nil {
							return err
						}
						if err := c.logout(); err != nil {
							return err
						}
					}
					return nil
				})
			}, nil, nil
		},
	}
}
