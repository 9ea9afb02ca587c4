// Package message finds the MIME parts of mail and answers in IMAP's terms.
//
// [Scan] reads a message once, from front to end, and records where every part's
// header and body lie, so that any section is afterwards a slice of the text:
//
//	part      = header [blank-line body]
//	header    = *(field / other-line)         ; up to an empty line or a boundary line
//	boundary  = "--" boundary [any] LF        ; the parent's, at the start of a line
//	end       = "--" boundary "--" [any] LF   ; then the parent's epilogue
//
// The line end before a boundary line belongs to the boundary (RFC 2046 section
// 5.1.1): a body ends before it, and so does a header that has no blank line. Text is
// in CRLF form; a bare LF also ends a line, a bare CR does not.
//
// Mail is hostile. There is no input that is not a message, time is linear in its
// size, and memory is bounded by [Limits]. net/mail and mime/multipart are not used:
// both take quadratic time on some mail, and refuse much that people receive.
//
// # Dovecot
//
// Clients keep what a server told them of a message, so the answers are those of
// Dovecot 2.3.19.1, byte by byte, recorded in testdata/dovecot. Where RFC 9051 leaves
// it open or mail is broken:
//
//   - Words of BODYSTRUCTURE stand as written, defaults in lower case.
//   - A multipart without a part shows an empty text/plain.
//   - Content-* fields count only with MIME-Version or Content-Type, or in a part.
//   - Addresses of repeated fields join one list; of Subject and other texts the last
//     field counts, of Content-* the first.
//   - A boundary is cut off after 80 bytes; only the beginning of a line must match.
//   - MISSING_MAILBOX, MISSING_DOMAIN, SYNTAX_ERROR and INVALID_ROUTE stand for parts
//     of addresses that cannot be read.
//   - NUL bytes in what ENVELOPE and BODYSTRUCTURE show become U+FFFD.
//
// Known differences:
//
//   - "name*=..." after a numbered parameter such as "title*1=..." keeps its name;
//     Dovecot calls it "name*1*", so that the file name is lost.
//   - Of a text/plain in US-ASCII and 7bit without any other field Dovecot sends the
//     type as written the first time and in lower case from its cache; here always
//     as written.
//   - HEADER.FIELDS of an embedded message without a blank line ends where its header
//     ends; Dovecot goes on into the next part.
//   - HEADER.FIELDS gives a field whose name has a NUL as it stands.
//   - Limits: Dovecot has the same depth and number of parts, but no bound on header
//     fields, parameters and addresses.
package message
