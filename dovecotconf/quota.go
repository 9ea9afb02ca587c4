package dovecotconf

import (
	"fmt"
	"strconv"
	"strings"
)

// quota converts limits.
func (c *converter) quota() {
	if !c.plugins["quota"] {
		return // what there is of settings is reported as left over
	}
	if c.v24 {
		c.quota24()
		return
	}
	for _, s := range []struct{ from, to string }{{"quota", "root"}, {"quota_grace", "grace"}, {"quota_max_mail_size", "max_mail_size"}, {"quota_exceeded_message", "exceeded_message"}} {
		n := c.plugin(s.from)
		switch {
		case n == nil || n.value == "":
		case n.form == fromFile:
			c.report(n, NotSupported, "The text is not read from a file: write it into the setting.")
		default:
			c.out.str("quota", s.to, n.value, "")
		}
	}
	for i := 1; ; i++ {
		number := ""
		if i > 1 {
			number = strconv.Itoa(i)
		}
		n := c.plugin("quota_rule" + number)
		if n == nil || n.value == "" {
			break
		}
		c.out.str("quota", "rule"+number, n.value, "")
	}
	tempfail := c.take("quota_full_tempfail")
	if n := c.proto("lmtp", "quota_full_tempfail"); n != nil {
		tempfail = n
	}
	if tempfail != nil && yes(tempfail, false) {
		c.out.set("quota", "full_tempfail", "true", "")
	}
}

// quota24 writes the rules that 2.4's settings amount to.
func (c *converter) quota24() {
	limits := map[string]*node{}
	keys := []string{"quota_storage_size", "quota_message_count", "quota_storage_grace", "quota_storage_percentage", "quota_storage_extra", "quota_message_percentage"}
	for _, key := range keys {
		if n := c.take(key); n != nil {
			limits[key] = n
		}
	}
	for i, root := range c.root.sections("quota") {
		if i > 0 {
			c.report(root, NotSupported, "There is one quota.")
			use(root)
			continue
		}
		root.used = true
		name, driver := root.value, "count"
		for _, key := range []string{"name", "quota_name"} {
			if n := takeFrom(root, key); n != nil {
				name = n.value
			}
		}
		for _, key := range []string{"driver", "quota_driver"} {
			if n := takeFrom(root, key); n != nil {
				driver = n.value
			}
		}
		c.out.str("quota", "root", driver+":"+name, "")
		for _, key := range keys {
			for _, k := range []string{key, strings.TrimPrefix(key, "quota_")} {
				if n := takeFrom(root, k); n != nil {
					limits[key] = n
				}
			}
		}
	}
	rules := []string{}
	if all := c.rule(limits, "="); all != "" {
		rules = append(rules, "*"+all)
	}
	if n := limits["quota_storage_grace"]; n != nil {
		c.out.str("quota", "grace", bytesOf(n.value), "")
	} else {
		c.out.str("quota", "grace", "10M", "Dovecot 2.4's default")
	}
	for _, ns := range c.root.sections("namespace") {
		for _, m := range ns.sections("mailbox") {
			if r := c.boxRule(m); r != "" {
				rules = append(rules, m.value+r)
			}
		}
	}
	for i, r := range rules {
		name := "rule"
		if i > 0 {
			name += strconv.Itoa(i + 1)
		}
		c.out.str("quota", name, r, "")
	}
	if n := c.take("quota_mail_size"); n != nil && n.value != "unlimited" {
		c.out.str("quota", "max_mail_size", bytesOf(n.value), "")
	}
	if n := c.take("quota_exceeded_message"); n != nil && n.value != "" {
		c.out.str("quota", "exceeded_message", n.value, "")
	}
	if n := c.proto("lmtp", "quota_full_tempfail"); n != nil && yes(n, false) {
		c.out.set("quota", "full_tempfail", "true", "")
	}
}

// rule writes limits as one of 2.3's rules, without its mask.
func (c *converter) rule(limits map[string]*node, op string) string {
	var r string
	if n := limits["quota_storage_size"]; n != nil && n.value != "unlimited" && n.value != "" {
		r += ":storage" + op + bytesOf(n.value)
	}
	if n := limits["quota_message_count"]; n != nil && n.value != "unlimited" && n.value != "" {
		r += ":messages" + op + n.value
	}
	return r
}

// boxRule is what a folder adds to the user's limit.
func (c *converter) boxRule(m *node) string {
	get := func(key string) *node {
		if n := takeFrom(m, key); n != nil {
			return n
		}
		return takeFrom(m, strings.TrimPrefix(key, "quota_"))
	}
	if yes(get("quota_ignore"), false) {
		return ":ignore"
	}
	if n := get("quota_storage_extra"); n != nil && n.value != "" {
		return ":storage=+" + bytesOf(n.value)
	}
	if n := get("quota_storage_percentage"); n != nil {
		if p, err := strconv.Atoi(n.value); err == nil && p > 100 && p < 100_000 {
			return fmt.Sprintf(":storage=+%d%%", p-100)
		}
		c.report(n, NotSupported, "A folder's limit is the user's or above it.")
	}
	return ""
}

// bytesOf writes a size of 2.4, which counts bytes where it names no unit, with its unit.
func bytesOf(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), " ", "")
	if s != "" && s[len(s)-1] >= '0' && s[len(s)-1] <= '9' {
		return s + "B"
	}
	s = strings.TrimSuffix(strings.ToUpper(s), "B")
	if s = strings.TrimSuffix(s, "I"); s != "" && s[len(s)-1] >= '0' && s[len(s)-1] <= '9' {
		s += "B"
	}
	return s
}
