package message

import (
	"strconv"
	"strings"
)

// emptyBody stands for the missing part of a multipart that has none, for the
// grammar wants at least one (Dovecot: imap-bodystructure.c).
const emptyBody = `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0`

// AppendEnvelope appends the parenthesised ENVELOPE (RFC 9051 section 7.5.2). Sender
// and Reply-To are From where missing.
func AppendEnvelope(dst []byte, e *Envelope) []byte {
	if e == nil {
		e = new(Envelope)
	}
	dst = append(dst, '(')
	dst = appendNString(dst, e.Date)
	dst = append(dst, ' ')
	dst = appendHuman(dst, e.Subject)
	for _, list := range [][]Address{e.From, orFrom(e.Sender, e), orFrom(e.ReplyTo, e), e.To, e.Cc, e.Bcc} {
		dst = append(dst, ' ')
		dst = appendAddresses(dst, list)
	}
	dst = append(dst, ' ')
	dst = appendNString(dst, e.InReplyTo)
	dst = append(dst, ' ')
	dst = appendNString(dst, e.MessageID)
	return append(dst, ')')
}

func orFrom(list []Address, e *Envelope) []Address {
	if list == nil {
		return e.From
	}
	return list
}

func appendAddresses(dst []byte, list []Address) []byte {
	if len(list) == 0 {
		return append(dst, "NIL"...)
	}
	dst = append(dst, '(')
	for _, a := range list {
		dst = append(dst, '(')
		dst = appendHuman(dst, a.Name)
		for _, s := range []*string{a.ADL, a.Mailbox, a.Host} {
			dst = append(dst, ' ')
			dst = appendNString(dst, s)
		}
		dst = append(dst, ')')
	}
	return append(dst, ')')
}

// AppendBodyStructure appends BODYSTRUCTURE (RFC 9051 section 7.5.2), or BODY if not
// extended. Words stand as written in the mail, defaults in lower case.
func AppendBodyStructure(dst []byte, p *Part, extended bool) []byte {
	dst = append(dst, '(')
	if p.IsMultipart() {
		return appendMultipart(dst, p, extended)
	}
	if p.Message != nil {
		dst = append(dst, `"message" "rfc822"`...)
	} else {
		dst = appendString(dst, p.Type)
		dst = append(dst, ' ')
		dst = appendString(dst, p.Subtype)
	}
	dst = append(dst, ' ')
	dst = appendParams(dst, p.Params, p.IsText())
	dst = append(dst, ' ')
	dst = appendNString(dst, p.ID)
	dst = append(dst, ' ')
	dst = appendNString(dst, p.Description)
	dst = append(dst, ' ')
	if p.Encoding == "" {
		dst = append(dst, `"7bit"`...)
	} else {
		dst = appendString(dst, p.Encoding)
	}
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, p.End-p.BodyStart, 10)
	switch {
	case p.IsText():
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, p.Lines, 10)
	case p.Message != nil:
		dst = append(dst, ' ')
		dst = AppendEnvelope(dst, p.Message.Envelope)
		dst = append(dst, ' ')
		dst = AppendBodyStructure(dst, p.Message, extended)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, p.Lines, 10)
	}
	if extended {
		dst = append(dst, ' ')
		dst = appendNString(dst, p.MD5)
		dst = appendExtension(dst, p)
	}
	return append(dst, ')')
}

func appendMultipart(dst []byte, p *Part, extended bool) []byte {
	for _, c := range p.Children {
		dst = AppendBodyStructure(dst, c, extended)
	}
	if len(p.Children) == 0 {
		dst = append(dst, emptyBody...)
		if extended {
			dst = append(dst, " NIL NIL NIL NIL"...)
		}
		dst = append(dst, ')')
	}
	dst = append(dst, ' ')
	dst = appendString(dst, p.Subtype)
	if extended {
		dst = append(dst, ' ')
		dst = appendParams(dst, p.Params, false)
		dst = appendExtension(dst, p)
	}
	return append(dst, ')')
}

// appendExtension appends disposition, language and location.
func appendExtension(dst []byte, p *Part) []byte {
	if p.Disposition == nil {
		dst = append(dst, " NIL "...)
	} else {
		dst = append(dst, " ("...)
		dst = appendString(dst, *p.Disposition)
		dst = append(dst, ' ')
		dst = appendParams(dst, p.DispositionParams, false)
		dst = append(dst, ") "...)
	}
	if len(p.Language) == 0 {
		dst = append(dst, "NIL"...)
	} else {
		sep := byte('(')
		for _, lang := range p.Language {
			dst = append(dst, sep)
			dst = appendString(dst, lang)
			sep = ' '
		}
		dst = append(dst, ')')
	}
	dst = append(dst, ' ')
	return appendNString(dst, p.Location)
}

// appendParams appends a parameter list; text says that a charset belongs in it.
func appendParams(dst []byte, params [][2]string, text bool) []byte {
	sep := byte('(')
	for _, p := range params {
		dst = append(dst, sep)
		dst = appendString(dst, p[0])
		dst = append(dst, ' ')
		dst = appendString(dst, p[1])
		sep = ' '
		if strings.EqualFold(p[0], "charset") {
			text = false
		}
	}
	if text {
		dst = append(dst, sep)
		dst = append(dst, `"charset" "us-ascii"`...)
		sep = ' '
	}
	if sep == '(' {
		return append(dst, "NIL"...)
	}
	return append(dst, ')')
}

func appendNString(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, "NIL"...)
	}
	return appendString(dst, *s)
}

// maxEscapes is how many quotes and backslashes a quoted string may have before a
// literal is shorter.
const maxEscapes = 4

// appendString appends a quoted string, or a literal for what cannot be quoted: 8-bit
// text and line ends.
func appendString(dst []byte, s string) []byte {
	escapes := 0
	for _, c := range []byte(s) {
		if c == '"' || c == '\\' {
			escapes++
		}
		if c >= 0x80 || c == '\r' || c == '\n' || escapes > maxEscapes {
			return appendLiteral(dst, s)
		}
	}
	dst = append(dst, '"')
	for _, c := range []byte(s) {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

func appendLiteral(dst []byte, s string) []byte {
	dst = append(dst, '{')
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, "}\r\n"...)
	return append(dst, s...)
}

// appendHuman appends a text for people, white space collapsed. As in Dovecot it is
// a literal whenever it is not plain.
func appendHuman(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, "NIL"...)
	}
	text := strings.Join(strings.FieldsFunc(*s, func(r rune) bool {
		return r == ' ' || r == '\t' || r == '\r' || r == '\n'
	}), " ")
	if text == "" || text == *s && !strings.ContainsFunc(text, func(r rune) bool {
		return r == '"' || r == '\\' || r >= 0x80
	}) {
		dst = append(dst, '"')
		dst = append(dst, text...)
		return append(dst, '"')
	}
	return appendLiteral(dst, text)
}
