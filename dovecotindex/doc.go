// Package dovecotindex reads and makes Dovecot's own index files, for taking stores over
// from Dovecot and handing them to it. In mdbox and sdbox they alone know UIDs, flags,
// keywords, UIDVALIDITY and the GUIDs of mailboxes, and mdbox's map alone knows which
// messages are expunged.
//
// An index is a path X, as dovecot.index, dovecot.map.index or dovecot.list.index, with
//
//	X          a snapshot, replaced now and then; it may be missing
//	X.log      the transaction log: what has changed since
//	X.log.2    the log before, kept for some days
//	X.backup   an older snapshot, of mdbox
//
// All numbers are little-endian. "align8" is padding with zeros to a multiple of 8.
//
//	snapshot   = base align8 *(extension) *record
//	base       = 120 bytes; see header.go for those that are used
//	extension  = hdr-size:32 reset-id:32 record-offset:16 record-size:16 record-align:16
//	             name-size:16 name align8 header align8
//	record     = uid:32 flags:8 data ; record-size bytes, the extensions' at their offsets
//
//	log        = major:8=1 minor:8=3 header-size:16=40 index-id:32 file-seq:32
//	             prev-file-seq:32 prev-file-offset:32 created:32 initial-modseq:64
//	             compat:8=1 7*8 *log-record
//	log-record = size type:32 data ; size with its own 8 bytes
//	size       = 4 bytes of 7 bits, big-endian, top bits set, in units of 4; until all
//	             four top bits are set the record is being written
//
// The type says in its low 28 bits what the data are; bit 28 ("external") that it has happened
// and is not only wanted.
//
//	0x2      append              *(uid:32 flags:8 24)
//	0xcd91   expunge             *(first:32 last:32)
//	0xed90   expunge by GUID     *(uid:32 guid:128)
//	0x4      flags               *(first:32 last:32 add:8 remove:8 modseq-inc:8 8)
//	0x20     base header         *(offset:16 size:16 bytes align4)
//	0x40     introduce extension *(id:32 reset-id:32 hdr-size:32 record-size:16 align:16
//	                             no-shrink:16 name-size:16 name align4)
//	0x80     reset extension     reset-id:32 preserve:8 24
//	0x100    extension's header  as 0x20; 0x10000 with numbers of 32 bits
//	0x200    extension's records *(uid:32 data align4) ; data of the size introduced
//	0x1000   add to a number     *(uid:32 difference:32)
//	0x400    keyword             remove:8 8 name-size:16 name align4 *(first:32 last:32)
//	0x800    no keywords         *(first:32 last:32)
//	0x8000   modseqs             *(uid:32 modseq:64) ; uid 0 concerns the counter alone
//	0x20000  mailbox is deleted  4 bytes; 0x40000 takes it back
//	0x80000  transaction         size:32 of all its records, this one included
//	0x100000 attributes          *(("+" / "-") ("p" / "s") key NUL) NUL align4 numbers
//
// Extensions are numbered by the order of their creation, and that of keywords, which nothing
// introduces, by the first keyword that is set.
//
// The counter of modseqs begins at initial-modseq and grows by one with every record that
// clients can see. A message's modseq is that of the last record that has changed it, if
// the extension "modseq" exists.
//
// [Read] gives the state of any index, [Parse] that of files in memory. [Index.Mdbox],
// [Index.Sdbox], [Index.Maildir], [Index.Map] and [Index.List] say what it means.
// [Mailbox.MdboxLog], [Mailbox.SdboxLog], [Map.Log] and [List.Log] are the way back: a
// log that begins with nothing, with which Dovecot serves a store without repairing it;
// [Create] puts it where it belongs. Of caches (X.cache), which hold text of headers, only
// dates and sizes are read, by [ReadCache].
//
// (Dovecot: lib-index/mail-index.h, mail-transaction-log.h, mail-index-sync-update.c,
// mail-index-sync-ext.c, mail-index-modseq.c; lib-storage/index/dbox-multi/mdbox-map.h.)
package dovecotindex
