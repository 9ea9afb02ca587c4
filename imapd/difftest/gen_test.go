package difftest

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
)

// A generator writes scripts: commands of one to three sessions that make sense most of
// the time. It keeps away from documented differences; what it cannot avoid, tolerate
// takes out.
type generator struct {
	*rand.Rand
	sessions []*genSession
	boxes    []string // that exist
	names    int
	lines    []string
}

type genSession struct {
	name     string
	box      string // selected
	readOnly bool
	// stale is set while another session has changed the mailbox since the last NOOP.
	stale bool
	// gone is set while another session may have expunged some of it.
	gone bool
}

// generate makes the script of a seed.
func generate(seed uint64) *script {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), boxes: []string{"INBOX", "Work", "Box", "Box/Sub"}}
	for i := range 1 + g.IntN(3) {
		g.sessions = append(g.sessions, &genSession{name: string(rune('A' + i))})
	}
	for range 15 + g.IntN(25) {
		g.step(g.sessions[g.IntN(len(g.sessions))])
	}
	for _, s := range g.sessions {
		if s.box != "" {
			g.say(s, "NOOP")
			g.say(s, "UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)")
		}
	}
	all, err := parseScripts("generated", fmt.Sprintf("=== %d\nmaildir: gen\n%s\n", seed, strings.Join(g.lines, "\n")))
	if err != nil {
		panic(err) // of this file
	}
	return all[0]
}

func (g *generator) say(s *genSession, format string, args ...any) {
	g.lines = append(g.lines, s.name+": "+fmt.Sprintf(format, args...))
}

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

// step adds a command of a session.
func (g *generator) step(s *genSession) {
	switch n := g.IntN(100); {
	case s.box == "" && n < 60, n < 6:
		g.selectBox(s)
	case n < 18:
		g.manage(s)
	case s.box == "":
		g.manage(s)
	case n < 24:
		g.say(s, "%s", pick(g, "NOOP", "CHECK"))
		s.stale, s.gone = false, false
	case n < 45:
		if s.gone { // what is said of those differs, and of those that came and went
			g.fresh(s)
		}
		g.say(s, "%s", g.fetch())
	case n < 60:
		g.fresh(s)
		if !s.readOnly {
			g.say(s, "%s %s %s", g.command("STORE"), pick(g, "FLAGS", "+FLAGS", "-FLAGS")+pick(g, "", ".SILENT"), g.flags())
			g.changed(s, s.box)
		}
	case n < 75:
		g.fresh(s) // Dovecot finds what is gone in its cache
		g.say(s, "%s", g.search())
	case n < 85:
		g.fresh(s)
		to := pick(g, g.boxes...)
		verb := "COPY"
		if !s.readOnly && g.IntN(3) == 0 {
			verb = "MOVE"
		}
		g.say(s, "%s %s", g.command(verb), to)
		g.changed(s, to)
		g.changed(s, s.box)
		g.expunged(s, s.box)
	case n < 93:
		g.fresh(s)
		if !s.readOnly {
			g.say(s, "%s", pick(g, "EXPUNGE", "UID EXPUNGE "+g.uids(), "UID EXPUNGE 1:*"))
			g.changed(s, s.box)
			g.expunged(s, s.box)
		}
	case n < 96:
		if !s.readOnly {
			g.fresh(s)
			g.changed(s, s.box)
			g.expunged(s, s.box)
		}
		g.say(s, "%s", pick(g, "CLOSE", "UNSELECT"))
		s.box = ""
	default:
		g.append(s)
	}
}

// fresh ends staleness: what is said of messages that others have expunged differs.
func (g *generator) fresh(s *genSession) {
	if s.box != "" && (s.stale || g.IntN(4) == 0) {
		g.say(s, "NOOP")
		s.stale, s.gone = false, false
	}
}

// changed notes that the others who have a mailbox selected are behind.
func (g *generator) changed(by *genSession, box string) {
	for _, s := range g.sessions {
		if s != by && s.box == box {
			s.stale = true
		}
	}
}

// expunged notes that the others may hold messages that are no more.
func (g *generator) expunged(by *genSession, box string) {
	for _, s := range g.sessions {
		if s != by && s.box == box {
			s.gone = true
		}
	}
}

func (g *generator) selectBox(s *genSession) {
	s.box, s.readOnly, s.stale, s.gone = pick(g, g.boxes...), g.IntN(4) == 0, false, false
	if g.IntN(2) == 0 {
		s.box = "INBOX"
	}
	g.say(s, "%s %s", map[bool]string{true: "EXAMINE", false: "SELECT"}[s.readOnly], s.box)
}

// manage adds a command about mailboxes. Dovecot announces nothing after these.
func (g *generator) manage(s *genSession) {
	selected := func(name string) bool {
		return slices.ContainsFunc(g.sessions, func(s *genSession) bool {
			return s.box == name || strings.HasPrefix(s.box, name+"/")
		})
	}
	free := slices.DeleteFunc(slices.Clone(g.boxes), func(n string) bool {
		return n == "INBOX" || selected(n) || slices.ContainsFunc(g.boxes, func(m string) bool { return strings.HasPrefix(m, n+"/") })
	})
	switch n := g.IntN(10); {
	case n < 3:
		g.append(s)
	case n < 5:
		name := pick(g, g.boxes...)
		if name == s.box {
			return
		}
		g.fresh2(s)
		g.say(s, "STATUS %s (%s)", name, g.some(" ", "MESSAGES", "UIDNEXT", "UNSEEN", "SIZE"))
	case n < 7:
		g.fresh2(s)
		g.say(s, "LIST %s %s%s", pick(g, `""`, `""`, "Box/"), pick(g, "*", "%", "Box*", "%/%", "W*", `(INBOX "B%")`),
			pick(g, "", "", " RETURN (CHILDREN)", " RETURN (SUBSCRIBED)", " RETURN (STATUS (MESSAGES UNSEEN))"))
	case n < 8:
		g.names++
		name := fmt.Sprintf("%sN%d", pick(g, "", "", "Box/"), g.names)
		g.boxes = append(g.boxes, name)
		g.fresh2(s)
		g.say(s, "CREATE %s", name)
	case n < 9 && len(free) > 0:
		name := pick(g, free...)
		g.boxes = slices.DeleteFunc(g.boxes, func(n string) bool { return n == name })
		g.fresh2(s)
		if g.IntN(2) == 0 {
			g.say(s, "DELETE %s", name)
			return
		}
		g.names++
		to := fmt.Sprintf("R%d", g.names)
		g.boxes = append(g.boxes, to)
		g.say(s, "RENAME %s %s", name, to)
	default:
		name := pick(g, g.boxes...)
		g.fresh2(s)
		if g.IntN(2) == 0 {
			g.say(s, "%s %s", pick(g, "SUBSCRIBE", "UNSUBSCRIBE"), name)
		} else {
			g.say(s, `LSUB "" %s`, pick(g, "*", "%", "Box/%"))
		}
	}
}

// fresh2 makes sure that a command which we announce after, and Dovecot does not, finds
// nothing to announce.
func (g *generator) fresh2(s *genSession) {
	if s.box != "" {
		g.say(s, "NOOP")
		s.stale, s.gone = false, false
	}
}

func (g *generator) append(s *genSession) {
	to := pick(g, g.boxes...)
	flags := ""
	if g.IntN(2) == 0 {
		flags = g.flags() + " "
		if !strings.HasPrefix(flags, "(") {
			flags = "(" + strings.TrimSpace(flags) + ") "
		}
	}
	date := pick(g, "", `"05-Feb-2024 06:07:08 +0530" `, `"28-Dec-2023 23:00:00 -0800" `)
	if s.stale {
		g.fresh2(s)
	}
	g.say(s, "APPEND %s %s%s{@%s}", to, flags, date, pick(g, "simple.eml", "multi.eml", "html.eml", "latin.eml", "nobody.eml"))
	g.changed(s, to)
}

// command is a command with a set, by number or by UID.
func (g *generator) command(name string) string {
	if g.IntN(2) == 0 {
		return "UID " + name + " " + g.uids()
	}
	return name + " " + g.numbers()
}

func (g *generator) numbers() string {
	return pick(g, "1", "2", "3", "1:3", "2:4", "1:*", "*", "4,2", "1,3", "3:1", "*:2", fmt.Sprint(1+g.IntN(8)), fmt.Sprintf("1:%d", 1+g.IntN(6)))
}

func (g *generator) uids() string {
	a, b := 1+g.IntN(16), 1+g.IntN(16)
	return pick(g, "1:*", "*", fmt.Sprint(a), fmt.Sprintf("%d:%d", a, b), fmt.Sprintf("%d,%d", a, b), fmt.Sprintf("%d:*", a), "3:9", "1:5")
}

// some joins a random choice of at least one.
func (g *generator) some(sep string, from ...string) string {
	g.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
	return strings.Join(from[:1+g.IntN(len(from))], sep)
}

func (g *generator) flags() string {
	return pick(g, `\Seen`, `\Deleted`, `(\Deleted)`, `(\Flagged \Answered)`, `()`, `(\Seen \Draft)`, `(Work)`, `($Forwarded \Seen)`, `(K1 \Deleted)`)
}

func (g *generator) fetch() string {
	items := g.some(" ", "FLAGS", "UID", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE",
		"BODY.PEEK[HEADER.FIELDS (Subject From)]", "BODY.PEEK[TEXT]<0.20>", "BODY.PEEK[1]", "BODY.PEEK[1.MIME]", "BODY.PEEK[2.HEADER]")
	return g.command("FETCH") + " " + pick(g, "FLAGS", "(UID FLAGS)", "FAST", "ALL", "("+items+")", "("+items+")", "BODY[TEXT]<2.10>", "(BODY[1] UID)")
}

// search avoids two negations in an OR, which Dovecot gets wrong, and message numbers
// that may not exist.
func (g *generator) search() string {
	ret := pick(g, "", "", "", "RETURN () ", "RETURN (COUNT) ", "RETURN (MIN MAX ALL COUNT) ")
	keys := g.key(2)
	for g.IntN(3) == 0 {
		keys += " " + g.key(2)
	}
	if g.IntN(5) == 0 {
		return pick(g, "", "UID ") + "SORT (" + g.some(" ", "ARRIVAL", "SIZE", "REVERSE SUBJECT", "DATE", "FROM") + ") UTF-8 " + keys
	}
	return pick(g, "", "UID ") + "SEARCH " + ret + keys
}

func (g *generator) key(depth int) string {
	simple := pick(g, "ALL", "SEEN", "UNSEEN", "DELETED", "UNDELETED", "FLAGGED", "ANSWERED", "DRAFT", "UNDRAFT", "KEYWORD Work",
		"UID "+g.uids(), "SINCE 2-Mar-2024", "BEFORE 4-Mar-2024", "ON 3-Mar-2024", "LARGER 200", "SMALLER 200",
		"SUBJECT hello", "FROM example", `HEADER Message-ID ""`, "BODY line", "TEXT example", `SUBJECT "world"`, "BODY visible", "1:*")
	switch n := g.IntN(8); {
	case depth == 0 || n < 5:
		return simple
	case n == 5:
		return "(" + g.key(depth-1) + " " + g.key(depth-1) + ")"
	case n == 6:
		return "OR " + g.key(0) + " " + pick(g, "SEEN", "DELETED", "FLAGGED", "SUBJECT hello", "LARGER 300", "UID "+g.uids(), "KEYWORD Work")
	}
	return "NOT " + g.key(0)
}

var onlyFlags = regexp.MustCompile(`^\* [0-9]+ FETCH \((UID [0-9]+ )?FLAGS \([^)]*\)\)$`)

// tolerate takes documented differences out of both answers to a generated command.
func tolerate(st *step, ours, theirs []string) (o, t []string) {
	drop := func(rs []string, differs func(string) bool) []string {
		return slices.DeleteFunc(slices.Clone(rs), differs)
	}
	keywords := func(r string) bool { // "keywords that no message has any more"
		return strings.HasPrefix(r, "* FLAGS ") || strings.HasPrefix(r, "* OK [PERMANENTFLAGS")
	}
	recent := func(r string) bool { return strings.HasSuffix(r, " RECENT") } // "which session gets \Recent"
	flags := onlyFlags.MatchString
	issued := func(r string) bool { return strings.Contains(r, "[EXPUNGEISSUED]") }
	if slices.ContainsFunc(ours, issued) || slices.ContainsFunc(theirs, issued) {
		return nil, nil // "messages that another session has expunged": what is said of them
	}
	o = drop(drop(ours, keywords), recent)
	t = drop(drop(theirs, keywords), recent)
	for _, rs := range [][]string{o, t} {
		for i := range rs {
			if strings.HasPrefix(rs[i], "tag NO [NONEXISTENT]") || strings.HasPrefix(rs[i], "tag NO [CANNOT]") {
				rs[i] = "tag NO" // "codes of refusals"; shrinking leads there
			}
			if fetchLine.MatchString(rs[i]) {
				rs[i] = strings.NewReplacer(` \Recent`, "", `\Recent `, "", `(\Recent)`, "()").Replace(rs[i])
			}
		}
	}
	words := strings.Fields(strings.TrimPrefix(strings.ToUpper(st.text), "UID "))
	if len(words) > 0 && words[0] == "STORE" { // "STORE that changes nothing of a message"
		o = drop(o, func(r string) bool { return fetchLine.MatchString(r) && !slices.Contains(t, r) })
		slices.Sort(o) // and what others changed comes before or behind
		slices.Sort(t)
	}
	for _, rs := range [][]string{o, t} {
		for i := range rs {
			if strings.HasPrefix(rs[i], "* SORT ") { // "messages of the same place in a SORT"
				numbers := strings.Fields(rs[i])
				slices.Sort(numbers)
				rs[i] = strings.Join(numbers, " ")
			}
		}
	}
	once := func(rs []string) []string { // flags that a FETCH asked for may be told again behind it
		var out []string
		for _, r := range rs {
			if !flags(r) || !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
		return out
	}
	o, t = once(o), once(t)
	if !slices.Equal(o, t) { // "messages that another session has expunged": their last flags
		o = drop(o, func(r string) bool { return flags(r) && !slices.Contains(t, r) })
		t = drop(t, func(r string) bool { return flags(r) && !slices.Contains(o, r) })
	}
	return o, t
}
