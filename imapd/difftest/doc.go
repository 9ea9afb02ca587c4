// Package difftest holds the differential test of IMAP: the same commands go to Dovecot
// and to this server over two copies of one Maildir, and what they say is compared. It has
// nothing to import. `go test` skips it, and says so, where Dovecot or root is missing.
//
// # Scripts
//
// testdata/scripts/*.txt. A line "=== name" begins a script, which gets a fresh Maildir:
//
//	=== a flag that another session sees
//	maildir: mixed
//	A: SELECT INBOX
//	B: EXAMINE INBOX
//	A: STORE 1 +FLAGS \Flagged
//	B: NOOP
//
// "maildir:" and "config:" before the first "===" hold for the whole file. Each name of
// capital letters is a session, logged in at its first use. Tags are added. Other lines:
//
//	# text            a comment
//	A: IDLE           returns at the continuation; "A: DONE" ends it
//	A wait            reads what comes unasked, until it is quiet for a while
//	A drop            hangs up; so does LOGOUT. The next use logs in again
//	A raw "bytes"     sends the bytes (a Go string) and reads up to the reply of a NOOP after them
//	do: deliver Work 1700009001.M1P1.host @simple.eml     another program's delivery into new/
//	do: flags Work 1700000001 FS                          renames the file to these flags
//	do: remove Work 1700000001                            removes the file
//	do: mkfolder Work / do: rmfolder Work                 a folder below the root
//	do: sleep 1100ms
//	! reason          the next command is answered differently: see below
//	= response        our answer to the command above holds this response (normalised)
//
// Literals: {"text"} is sent as one, with Go's escapes, and {+"text"} without waiting;
// {@simple.eml} sends a file of testdata/mail with CRLF lines; {} sends the lines that follow
// and begin with "|". Numbers that the servers choose are told apart by symbols in
// the order of their appearance: V1, V2... for UIDVALIDITYs, M1... for modseqs, O1... for object
// ids. %V1% in a command is what the server itself has called V1.
//
// # Differences
//
// A difference that is meant to be stands in docs/compatibility.md, in a table row whose
// first cell is the reason. The test fails where a reason is not there, where a row there has no
// script, and where the difference has gone.
//
// # mdbox
//
// TestScriptsMdbox plays some of the scripts, with DIFFTEST_MDBOX=all all of them, over the same
// mailboxes in mdbox, which Dovecot makes of the Maildir (doveadm backup) and we take over.
//
// # Generated scripts
//
// TestGenerated makes scripts from seeds, which keep away from the differences or, in
// tolerate, take them out. It plays a few; DIFFTEST_SEEDS=1-1000 plays others. A script that
// differs is shrunk and printed in the form above. DIFFTEST_SHOW=1 with -v prints both answers
// to everything that the scripts of testdata say.
//
// TestMIME mutates messages, and compares structures, sections, searches and orders.
//
// # Maildirs
//
// testdata/maildirs/*.txt describe the Maildirs; see maildir_test.go.
package difftest
