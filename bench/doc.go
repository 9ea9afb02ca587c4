// Bench measures mailcryptd beside a real Dovecot: the same work, machine, disk, settings and
// load generator, in turn. It prints a table, and keeps docs/performance.md.
//
//	go run ./bench                          everything; hours on a small machine
//	go run ./bench -work 'lmtp|append'      works whose names match
//	go run ./bench -list                    the names
//	go run ./bench -short                   a few minutes: does it still work?
//	go run ./bench -page docs/performance.md
//
// It needs root, for Dovecot changes users, and Dovecot 2.3 with its mail-crypt and zlib plugins.
//
// # How it measures
//
// A work is prepared, and then run with the clock running: first once for each server, checked
// and not counted, then in pairs: Dovecot, mailcryptd, Dovecot, mailcryptd and so on. A ratio
// is that of a pair, whose halves saw nearly the same load of the machine; the table has the
// median and the extremes of ratios. Beside the time stands the CPU time that all processes of
// a server used, which other programs on the machine disturb far less.
//
// Each round has users of its own: nothing is left over from the round before. Where mail is
// read, the user's home is a copy of a store that was written once and synced, so that no
// server has seen it before. The page cache is warm unless -drop-caches is given.
//
// What a server removes is not in the other's way, nor is what the benchmark removes: on ext4
// the servers' directories lie in block groups of their own, and homes stay until the end while
// 20 GiB are free. Without a journal ext4 otherwise looks, for each file that it makes, through
// the inodes that were removed in the minutes before.
package main
