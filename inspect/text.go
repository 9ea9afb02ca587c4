package inspect

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// WriteText writes an Info for people. Names of foreign origin are quoted.
func (info *Info) WriteText(w io.Writer) error {
	var b strings.Builder
	if info.Kind == "" { // it could not be opened
		fmt.Fprintf(&b, "%s:", info.Path)
	} else {
		fmt.Fprintf(&b, "%s: %s, %d bytes", info.Path, info.Kind, info.Size)
	}
	if info.Compression != "" {
		fmt.Fprintf(&b, ", compressed (%s)", info.Compression)
	}
	b.WriteByte('\n')
	if info.Stream != nil {
		info.Stream.text(&b, "  ")
	}
	if info.Key != nil {
		info.Key.text(&b, "  ")
	}
	if d := info.Dict; d != nil {
		for _, kind := range slices.Sorted(maps.Keys(d.Counts)) {
			fmt.Fprintf(&b, "  %d %s\n", d.Counts[kind], kind)
		}
		for _, a := range d.Attributes {
			fmt.Fprintf(&b, "  %-14s %5d bytes  %s\n", a.Kind, a.Size, visible(a.Name))
			if a.Key != nil {
				a.Key.text(&b, "    ")
			}
			problem(&b, "    ", a.Error)
		}
		more(&b, d.More)
	}
	if u := info.UIDList; u != nil {
		fmt.Fprintf(&b, "  version %d, UIDVALIDITY %d, next UID %d, GUID %s\n  %d messages, UID %d to %d\n", u.Version, u.UIDValidity, u.UIDNext, u.GUID, u.Messages, u.First, u.Last)
		if u.Torn {
			b.WriteString("  an incomplete line is at the end\n")
		}
	}
	if m := info.Mdbox; m != nil {
		fmt.Fprintf(&b, "  made %s, %d messages\n", m.Created.Format(time.RFC3339), len(m.Messages)+m.More)
		for _, r := range m.Messages {
			fmt.Fprintf(&b, "  at %d: %d bytes, GUID %s, received %s, first in %s\n", r.Offset, r.Size, visible(r.GUID), r.Received.Format(time.RFC3339), visible(r.Folder))
			if r.Stream != nil {
				r.Stream.text(&b, "    ")
			}
		}
		more(&b, m.More)
	}
	if info.Catalog != nil {
		info.Catalog.text(&b)
	}
	if info.GUID != "" {
		fmt.Fprintf(&b, "  of the mailbox with GUID %s\n", info.GUID)
	}
	problem(&b, "  ", info.Error)
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *StreamInfo) text(b *strings.Builder, indent string) {
	if s.Version != 0 {
		fmt.Fprintf(b, "%sversion %d, %s, digest %s, integrity %s, %d rounds, header of %d bytes\n", indent, s.Version, s.Cipher, s.Digest, s.Integrity, s.Rounds, s.HeaderSize)
	}
	for _, r := range s.Recipients {
		fmt.Fprintf(b, "%sfor %s key %s\n", indent, r.Type, r.ID)
	}
	if d := s.Decrypted; d != nil {
		fmt.Fprintf(b, "%sopens: %d bytes", indent, d.Size)
		if d.Compression != "" {
			fmt.Fprintf(b, ", compressed (%s)", d.Compression)
		}
		b.WriteByte('\n')
	}
	problem(b, indent, s.Error)
}

func (k *KeyInfo) text(b *strings.Builder, indent string) {
	kind := "public"
	if k.Private {
		kind = "private"
	}
	fmt.Fprintf(b, "%s%s key, form %s", indent, kind, k.Format)
	if k.Curve != "" {
		fmt.Fprintf(b, ", %s", k.Curve)
	}
	switch k.Protection {
	case "none":
		b.WriteString(", in clear")
	case "password", "key":
		fmt.Fprintf(b, ", sealed by a %s", k.Protection)
		if k.Rounds > 0 {
			fmt.Fprintf(b, " (%s, %s, %d rounds)", visible(k.Cipher), visible(k.Hash), k.Rounds)
		}
	}
	b.WriteByte('\n')
	for _, id := range [][2]string{{"id", k.ID}, {"old id", k.OldID}, {"opened by", k.Protector}} {
		if id[1] != "" {
			fmt.Fprintf(b, "%s%s %s\n", indent, id[0], visible(id[1]))
		}
	}
}

// visible shows what a terminal would obey.
func visible(s string) string {
	q := fmt.Sprintf("%+q", s)
	if q[1:len(q)-1] == s {
		return s
	}
	return q
}

func problem(b *strings.Builder, indent, text string) {
	if text != "" {
		fmt.Fprintf(b, "%sproblem: %s\n", indent, visible(text))
	}
}

func more(b *strings.Builder, n int) {
	if n > 0 {
		fmt.Fprintf(b, "  and %d more\n", n)
	}
}
