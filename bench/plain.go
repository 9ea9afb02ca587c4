package main

// plain: what encryption costs, by mailcryptd's users with it and without.
func (b *bench) plain() (list []work) {
	subjects := []subject{b.subject(b.ours, inClear), b.subject(b.ours, sealed)}
	subjects[0].label, subjects[1].label = "in clear", "encrypted"
	w := b.saveWork("lmtp", "64k", 1, b.n(1000), 64<<10, subjects)
	w.name = "encryption/lmtp/64k"
	list = append(list, w)
	count := b.n(500)
	r := b.read(readWork{name: "encryption/fetch", count: count, size: 64 << 10, command: "FETCH 1:* BODY.PEEK[]", known: delivered, bytes: true})
	r.name, r.subjects = "encryption/fetch/64k", subjects
	return append(list, r)
}
