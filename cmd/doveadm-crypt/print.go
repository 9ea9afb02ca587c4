package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

var formats = []string{"table", "tab", "json", "flow", "pager"}

func (t *tool) checkFormat() error {
	if t.format != "" && !slices.Contains(formats, t.format) {
		return usage("there is no format %q; it is one of %s", t.format, strings.Join(formats, ", "))
	}
	return nil
}

// A column has a title for people and a name for programs.
type column struct {
	name, title string
	untitled    bool // flow and pager print the value alone
	raw         bool // has lines of its own, which are kept where Dovecot keeps them
}

// A table is what a command has to show. A row has a cell for each column.
type table struct {
	columns []column
	rows    [][]string
}

func (tb *table) add(cells ...string) { tb.rows = append(tb.rows, cells) }

// show prints a result: value as JSON, or the table.
func (t *tool) show(tb table, value any) error {
	switch t.format {
	case "json":
		enc := json.NewEncoder(t.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(value)
	case "", "table":
		return t.showTable(tb)
	}
	return t.showAs(tb, t.format)
}

// showTable prints a table for people. On a terminal titles stand out, and where it is not wide
// enough each row is a paragraph: ids are long, and are there to be copied.
func (t *tool) showTable(tb table) error {
	if len(tb.rows) == 0 {
		return nil
	}
	widths := tb.widths()
	total := 2 * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	if have := columns(t.stdout); have > 0 && total > have {
		return t.showParagraphs(tb)
	}
	var b strings.Builder
	line := func(cells []string, before, after string) {
		var l strings.Builder
		for i, c := range cells {
			c = clean(c)
			l.WriteString(c)
			l.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)+2))
		}
		b.WriteString(before + strings.TrimRight(l.String(), " ") + after + "\n")
	}
	titles := make([]string, len(tb.columns))
	for i, c := range tb.columns {
		titles[i] = c.title
	}
	if t.colours() {
		line(titles, "\x1b[1m", "\x1b[0m")
	} else {
		line(titles, "", "")
	}
	for _, row := range tb.rows {
		line(row, "", "")
	}
	_, err := io.WriteString(t.stdout, b.String())
	return err
}

// showParagraphs prints what is in each row, a line for a cell.
func (t *tool) showParagraphs(tb table) error {
	width := 0
	for _, c := range tb.columns {
		width = max(width, utf8.RuneCountInString(c.title))
	}
	bold, plain := "", ""
	if t.colours() {
		bold, plain = "\x1b[1m", "\x1b[0m"
	}
	var b strings.Builder
	for _, row := range tb.rows {
		for i, cell := range row {
			if cell != "" {
				fmt.Fprintf(&b, "%s%-*s%s  %s\n", bold, width, tb.columns[i].title, plain, clean(cell))
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(t.stdout, b.String())
	return err
}

func (tb table) widths() []int {
	widths := make([]int, len(tb.columns))
	for i, c := range tb.columns {
		widths[i] = utf8.RuneCountInString(c.title)
		for _, row := range tb.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(clean(row[i])))
		}
	}
	return widths
}

// showAs prints a table as a formatter of Dovecot's does (doveadm-print-*.c).
func (t *tool) showAs(tb table, format string) error {
	var b strings.Builder
	switch format {
	case "table":
		tb.dovecotTable(&b)
	case "tab":
		for i, c := range tb.columns {
			b.WriteString(separate(i, "\t") + c.title)
		}
		b.WriteByte('\n')
		for _, row := range tb.rows {
			for i, cell := range row {
				b.WriteString(separate(i, "\t") + tb.columns[i].clean(cell))
			}
			b.WriteByte('\n')
		}
	case "flow":
		for _, row := range tb.rows {
			for i, cell := range row {
				b.WriteString(separate(i, " ") + titled(tb.columns[i], "=") + tb.columns[i].clean(cell))
			}
			b.WriteByte('\n')
		}
	case "pager":
		for n, row := range tb.rows {
			b.WriteString(separate(n, "\f\n"))
			for i, cell := range row {
				b.WriteString(titled(tb.columns[i], ": ") + tb.columns[i].clean(cell) + "\n")
			}
		}
	case "json":
		tb.dovecotJSON(&b)
	}
	_, err := io.WriteString(t.stdout, b.String())
	return err
}

func separate(i int, s string) string {
	if i == 0 {
		return ""
	}
	return s
}

func titled(c column, end string) string {
	if c.untitled {
		return ""
	}
	return c.title + end
}

// dovecotTable pads as Dovecot does with 80 columns: half of what is left goes to the last one.
func (tb table) dovecotTable(b *strings.Builder) {
	widths := tb.widths()
	total := len(widths) - 1
	for _, w := range widths {
		total += w
	}
	if total < 80 {
		widths[len(widths)-1] += (80 - total) / 2
	}
	line := func(cell func(i int) string) {
		for i, w := range widths {
			fmt.Fprintf(b, "%s%-*s", separate(i, " "), w, cell(i))
		}
		b.WriteByte('\n')
	}
	line(func(i int) string { return tb.columns[i].title })
	for _, row := range tb.rows {
		line(func(i int) string { return clean(row[i]) })
	}
}

// dovecotJSON is an array of objects of strings, in the order of the columns, without a line end.
func (tb table) dovecotJSON(b *strings.Builder) {
	b.WriteByte('[')
	for n, row := range tb.rows {
		b.WriteString(separate(n, ",") + "{")
		for i, cell := range row {
			b.WriteString(separate(i, ",") + quote(tb.columns[i].name) + ":" + quote(cell))
		}
		b.WriteByte('}')
	}
	b.WriteByte(']')
}

func quote(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.Encode(s) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

// clean keeps what others have named, folders say, from steering the terminal or making lines.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) {
			return '?'
		}
		return r
	}, s)
}

func (c column) clean(s string) string {
	if c.raw {
		return s
	}
	return clean(s)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
