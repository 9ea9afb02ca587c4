package message

// A Part is one MIME part of a message and what IMAP wants to know of it. Offsets
// count bytes of the scanned text; HeaderStart <= BodyStart <= End, and children lie
// within their parent's body. A Part does not refer to the reader, and may be read
// concurrently.
type Part struct {
	HeaderStart int64 // first byte of the header
	BodyStart   int64 // first byte of the body, after the header's blank line
	End         int64 // just past the body; the line end before a boundary is outside
	HeaderLines int64 // line ends in the header, that of the blank line included
	Lines       int64 // line ends in the body

	// Type and Subtype are as written, for example "text" and "HTML". A part without
	// Content-Type has its default, "text" and "plain" or in a multipart/digest
	// "message" and "rfc822"; a Content-Type that cannot be parsed leaves both empty.
	Type, Subtype string
	// Params are the parameters of Content-Type as written. The pieces of RFC 2231
	// are joined; a name that still ends in "*" has an encoded value (see [Param]).
	Params [][2]string

	Encoding                       string  // Content-Transfer-Encoding as written; "" means 7bit
	ID, Description, MD5, Location *string // Content-*; nil where missing

	Disposition       *string // nil where missing
	DispositionParams [][2]string
	Language          []string

	Children []*Part // of a multipart, in order
	Message  *Part   // of a message/rfc822: the message inside
	// Envelope is set for the top part and for a Part that is some part's Message.
	Envelope *Envelope
	// Cut reports that a bound of Limits was reached here: what may lie inside is only
	// the opaque body of this part.
	Cut bool
}

// An Envelope is what IMAP's ENVELOPE shows of a header (RFC 9051 section 7.5.2). A
// nil string or list is NIL: the field is missing. Strings are as written, not decoded
// and unfolded, but Subject still has its folds. Sender and ReplyTo are not filled
// from From here.
type Envelope struct {
	Date, Subject                      *string
	From, Sender, ReplyTo, To, Cc, Bcc []Address
	InReplyTo, MessageID               *string
}

// An Address is one address of an ENVELOPE, in the four fields of RFC 9051. A group
// begins with an Address that has only a Mailbox, the group's name, and ends with one
// where all is nil.
type Address struct {
	Name, ADL, Mailbox, Host *string
}

// Limits bound what Scan looks for. A zero field means its default. What lies beyond
// a bound is left opaque (Part.Cut) or ignored; it is never an error, for the mail
// must stay readable.
type Limits struct {
	Depth       int   // nesting of parts; default 100
	Parts       int   // parts in all; default 10,000
	HeaderBytes int64 // of one header, beyond which fields are ignored; default 10 MiB
	AllHeaders  int64 // of all headers, beyond which no part is opened; default 50 MiB
	Params      int   // parameters of a field; default 100
	Addresses   int   // addresses in one list of an Envelope; default 10,000
	Memory      int64 // bytes that the result may hold, about; default 32 MiB
}
