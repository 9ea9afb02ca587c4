package dovecotconf

import (
	"fmt"
	"slices"
	"strings"
)

// An output collects the settings of the configuration, table by table.
type output struct {
	tables map[string][]entry
	boxes  []box
}

// An entry is one line of a table.
type entry struct{ key, text, comment string }

// A box is one [[mailbox]].
type box struct{ name, use, auto string }

var tableOrder = []string{"", "imap", "lmtp", "tls", "auth", "userdb", "namespace", "mail_crypt", "zlib", "quota"}

// set writes a setting; a later one of the same name replaces it.
func (o *output) set(table, key, text, comment string) {
	if o.tables == nil {
		o.tables = map[string][]entry{}
	}
	list := o.tables[table]
	if i := slices.IndexFunc(list, func(e entry) bool { return e.key == key }); i >= 0 {
		list[i] = entry{key, text, comment}
		return
	}
	o.tables[table] = append(list, entry{key, text, comment})
}

func (o *output) has(table, key string) bool {
	return slices.ContainsFunc(o.tables[table], func(e entry) bool { return e.key == key })
}

// is reports whether a setting has been written with a value.
func (o *output) is(table, key, value string) bool {
	return slices.ContainsFunc(o.tables[table], func(e entry) bool { return e.key == key && e.text == quote(value) })
}

func (o *output) str(table, key, value, comment string) { o.set(table, key, quote(value), comment) }

func (o *output) list(table, key string, values []string, comment string) {
	for i, v := range values {
		values[i] = quote(v)
	}
	o.set(table, key, "["+strings.Join(values, ", ")+"]", comment)
}

// quote writes a basic string of TOML.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (o *output) text(c *converter) []byte {
	var b strings.Builder
	counts := map[Effect]int{}
	for _, f := range c.findings {
		counts[f.Effect]++
	}
	fmt.Fprintf(&b, "# Made from a configuration of Dovecot %s. It may hold secrets.\n", c.version)
	fmt.Fprintf(&b, "# Of it %d settings are not supported, %d are missing and %d differ: see the report.\n", counts[NotSupported], counts[Missing], counts[Different])
	for _, t := range tableOrder {
		if t != "" && len(o.tables[t]) > 0 {
			fmt.Fprintf(&b, "\n[%s]\n", t)
		} else if t == "" {
			b.WriteString("\n")
		}
		for _, e := range o.tables[t] {
			if e.comment != "" {
				fmt.Fprintf(&b, "# %s\n", e.comment)
			}
			fmt.Fprintf(&b, "%s = %s\n", e.key, e.text)
		}
	}
	slices.SortFunc(o.boxes, func(a, b box) int { return strings.Compare(a.name, b.name) }) // as doveconf does
	for _, m := range o.boxes {
		fmt.Fprintf(&b, "\n[[mailbox]]\nname = %s\n", quote(m.name))
		if m.use != "" {
			fmt.Fprintf(&b, "special_use = %s\n", quote(m.use))
		}
		if m.auto != "" && m.auto != "no" {
			fmt.Fprintf(&b, "auto = %s\n", quote(m.auto))
		}
	}
	return []byte(b.String())
}
