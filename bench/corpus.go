package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// The corpus is mail made of numbers: the same bytes on every machine and in every run. A
// mail's Message-ID says which it is, so what is read can be compared with what was sent.

const (
	rareEvery  = 100 // one mail in so many comes from rareSender and has rareWord
	rareSender = "Philippa Quaxworthy"
	rareWord   = "xylographic"
)

var words = strings.Fields(`the of and to in a is that for it as was with be by on not he his but at are this
have from or had an they which one you were all her she there would their we him been has when who will no more if
out so up said what its about than into them can only other time new some could these two may first then do any like
my now over such our man me even most made after also did many off before must well back through years much where
your way down should because long each just state those people too little good world make very year still see own
work men day get here between both life being under three never know same last another while us might great go come
since against right came take used himself few house use place during without again home around small however found
meeting invoice delivery project deadline budget attached regards schedule contract proposal customer quarter report`)

var names = []string{"Anna Berg", "Jamal Haddad", "Wei Chen", "Sofia Rossi", "Mikhail Orlov", "Grace Okafor",
	"Tomás Silva", "Yuki Tanaka", "Lena Fischer", "Peter Novak", "Amélie Laurent", "David Cohen"}

// mail makes the n-th mail of a size, to the byte. Small ones are text, or text and HTML; large
// ones have an attachment of what does not compress.
func mail(n, size int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(n), uint64(size)))
	var w bytes.Buffer
	w.Grow(size)
	header(&w, rnd, n, size)
	boundary := fmt.Sprintf("=_%016x", rnd.Uint64())
	switch {
	case size >= 32<<10:
		fmt.Fprintf(&w, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n--%[1]s\r\n", boundary)
		w.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n")
		text(&w, rnd, n, w.Len()+2048)
		fmt.Fprintf(&w, "\r\n--%s\r\nContent-Type: application/pdf; name=\"report-%d.pdf\"\r\n", boundary, n)
		fmt.Fprintf(&w, "Content-Disposition: attachment; filename=\"report-%d.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n", n)
		attachment(&w, rnd, size-len(boundary)-8)
		fmt.Fprintf(&w, "\r\n--%s--\r\n", boundary)
	case n%3 == 0:
		fmt.Fprintf(&w, "Content-Type: multipart/alternative; boundary=\"%s\"\r\n\r\n--%[1]s\r\n", boundary)
		w.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n")
		text(&w, rnd, n, w.Len()+(size-w.Len())/3)
		fmt.Fprintf(&w, "\r\n--%s\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n<html><body><p>\r\n", boundary)
		text(&w, rnd, n, size-len(boundary)-8-20)
		w.WriteString("</p></body></html>\r\n")
		fmt.Fprintf(&w, "\r\n--%s--\r\n", boundary)
	default:
		w.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n")
		text(&w, rnd, n, size)
	}
	return w.Bytes()
}

func header(w *bytes.Buffer, rnd *rand.Rand, n, size int) {
	from := names[rnd.IntN(len(names))]
	if n%rareEvery == 7 {
		from = rareSender
	}
	date := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * 7 * time.Minute).Format(time.RFC1123Z)
	fmt.Fprintf(w, "Received: from mx%d.example.net (mx%[1]d.example.net [192.0.2.%d])\r\n\tby relay.example.org (Postfix) with ESMTPS id %X\r\n\tfor <user@example.org>; %s\r\n",
		rnd.IntN(9), rnd.IntN(250), rnd.Uint64(), date)
	var sig [192]byte
	for i := range sig {
		sig[i] = byte(rnd.Uint32())
	}
	s := base64.StdEncoding.EncodeToString(sig[:])
	fmt.Fprintf(w, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=mail;\r\n\th=from:to:subject:date:message-id;\r\n\tb=%s\r\n\t %s\r\n\t %s\r\n\t %s\r\n", s[:64], s[64:128], s[128:192], s[192:])
	fmt.Fprintf(w, "Message-ID: <%d.%d@bench.example>\r\n", n, size)
	fmt.Fprintf(w, "Date: %s\r\nFrom: %s\r\nTo: \"User\" <user@example.org>\r\nCc: %s <team@example.org>\r\n", date, address(from), names[rnd.IntN(4)])
	fmt.Fprintf(w, "Subject: Re: %s %s %s %d\r\nMIME-Version: 1.0\r\n", word(rnd), word(rnd), word(rnd), n)
}

// address is a mailbox with its name in an encoded word where it must be.
func address(name string) string {
	local := strings.ToLower(strings.Map(func(r rune) rune {
		if r < 'A' || r > 'z' {
			return -1
		}
		return r
	}, name))
	for _, r := range name {
		if r > 127 {
			return "=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(name)) + "?= <" + local + "@example.net>"
		}
	}
	return name + " <" + local + "@example.net>"
}

func word(rnd *rand.Rand) string { return words[rnd.IntN(len(words))] }

// text writes lines of words until w has exactly end bytes, the last two of them CRLF.
func text(w *bytes.Buffer, rnd *rand.Rand, n, end int) {
	if n%rareEvery == 7 {
		w.WriteString("about " + rareWord + " matters\r\n")
	}
	for column := 0; w.Len() < end-2; {
		s := word(rnd)
		if room := end - 2 - w.Len(); len(s)+1 > room {
			w.WriteString(strings.Repeat("x", room))
			break
		}
		w.WriteString(s)
		if column += len(s) + 1; column > 70 && end-2-w.Len() >= 2 {
			w.WriteString("\r\n")
			column = 0
		} else {
			w.WriteByte(' ')
		}
	}
	w.WriteString("\r\n")
}

// attachment writes base64 in lines of 76 until w has exactly end bytes, the last two of them CRLF.
func attachment(w *bytes.Buffer, rnd *rand.Rand, end int) {
	var raw [57]byte
	var line [78]byte
	line[76], line[77] = '\r', '\n'
	for w.Len() < end {
		for i := 0; i < len(raw); i += 8 {
			v := rnd.Uint64()
			for j := i; j < min(i+8, len(raw)); j++ {
				raw[j] = byte(v)
				v >>= 8
			}
		}
		base64.StdEncoding.Encode(line[:], raw[:])
		if rest := end - w.Len(); rest <= len(line)+2 {
			w.Write(line[:min(rest-2, 76)])
			w.WriteString(strings.Repeat("=", max(rest-78, 0)) + "\r\n")
			break
		}
		w.Write(line[:])
	}
}

// mails makes the mails from n to n+count-1.
func mails(n, count, size int) [][]byte {
	list := make([][]byte, count)
	for i := range list {
		list[i] = mail(n+i, size)
	}
	return list
}

// check wants a body to be a mail of the corpus, whole. A delivery puts fields before it.
func check(body []byte) error {
	_, rest, _ := bytes.Cut(body, []byte("\nMessage-ID: <"))
	id, _, _ := bytes.Cut(rest, []byte("@"))
	var n, size int
	if _, err := fmt.Sscanf(string(id), "%d.%d", &n, &size); err != nil || size > 8<<20 {
		return fmt.Errorf("bench: a body of %d bytes is no mail of the corpus", len(body))
	}
	if !bytes.HasSuffix(body, mail(n, size)) {
		return fmt.Errorf("bench: mail %d of %d bytes came back as %d other bytes", n, size, len(body))
	}
	return nil
}
