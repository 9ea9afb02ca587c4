package maildir

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"mailcrypt/mailbox"
)

func TestFlagLetters(t *testing.T) {
	for _, tt := range []struct{ suffix, letters, before, after string }{
		{"", "", "", ""},
		{":2,", "", "", ""},
		{":2,FS", "FS", "", ""},
		{":2,Sa,x=1,y", "Sa", "", ",x=1,y"},
		{":1,S", "", "", ""},
		{":x:2,S", "S", ":x", ""},
		{":2,S:x", "", ":2,S", ""},
	} {
		before, letters, after := splitFlags(tt.suffix)
		if before != tt.before || letters != tt.letters || after != tt.after {
			t.Errorf("splitFlags(%q) = %q, %q, %q", tt.suffix, before, letters, after)
		}
	}
	for _, tt := range []struct {
		suffix string
		op     mailbox.FlagOp
		change string
		want   string
	}{
		{"", mailbox.AddFlags, "", ":2,"},
		{":2,S", mailbox.AddFlags, "FcDS", ":2,DFSc"},
		{":2,caPS,x", mailbox.RemoveFlags, "Sa", ":2,Pc,x"},
		{":2,caPST,x", mailbox.ReplaceFlags, "Rb", ":2,PRb,x"},
		{":1,S", mailbox.AddFlags, "F", ":2,F"},
		{":x:2,S", mailbox.AddFlags, "F", ":x:2,FS"},
	} {
		if got := changeSuffix(tt.suffix, tt.op, tt.change); got != tt.want {
			t.Errorf("changeSuffix(%q, %v, %q) = %q, want %q", tt.suffix, tt.op, tt.change, got, tt.want)
		}
	}
}

func TestNameSizes(t *testing.T) {
	for base, want := range map[string][2]int64{
		"1.h":                        {-1, -1},
		"1.h,S=10,W=12":              {10, 12},
		"1.h,W=12,S=10":              {10, 12},
		"1.h,S=10x,W=":               {-1, -1},
		"1.h,S=1,S=2":                {1, -1},
		"1.h,S=99999999999999999999": {-1, -1},
		"1.h,S=-5":                   {-1, -1},
	} {
		if s, w := nameSizes(base); s != want[0] || w != want[1] {
			t.Errorf("nameSizes(%q) = %d, %d; want %d", base, s, w, want)
		}
	}
}

func TestUniqueNames(t *testing.T) {
	u := newUnique("a/b:c,d e")
	seen := map[string]bool{}
	last := ""
	for range 10_000 {
		name := u.next()
		if seen[name] || last != "" && arrivalOf(last).compare(arrivalOf(name)) >= 0 {
			t.Fatalf("%q after %q", name, last)
		}
		seen[name], last = true, name
	}
	if !strings.HasSuffix(last, `.a\057b\072c\054d\040e`) || strings.ContainsAny(last, "/:, ") {
		t.Errorf("name %q", last)
	}
	// Another opening of the tree, with the same clock, pid and host.
	if v := newUnique("a"); v.tail == u.tail {
		t.Error("two makers of names share their random part")
	}
}

func TestKeywordsFile(t *testing.T) {
	k, err := parseKeywords(strings.NewReader("0 $Forwarded\n1 NonJunk\n\nx y\n26 beyond\n1 twice\n300 far\n-1 x\n5 with space\n3\n4 \n25 z"))
	if err != nil {
		t.Fatal(err)
	}
	want := keywords{0: "$Forwarded", 1: "NonJunk", 5: "with space"}
	if k != want {
		t.Errorf("parsed %q", k)
	}
	if got := k.name('c'); got != "unknown-2" {
		t.Errorf("name of c: %q", got)
	}
	if l, ok := k.find("nonjunk"); l != 'b' || !ok {
		t.Errorf("find: %c, %v", l, ok)
	}
	none := func(byte) bool { return false }
	if letters, changed, err := k.add([]string{"NONJUNK", "x"}, none); letters != "bc" || !changed || err != nil || k[2] != "x" {
		t.Errorf("add: %q, %v, %v", letters, changed, err)
	}
	if _, _, err := k.add([]string{"bad name"}, none); !errors.Is(err, mailbox.ErrName) {
		t.Errorf("add: %v", err)
	}
}

func FuzzKeywords(f *testing.F) {
	for _, text := range vectorFiles(f, keywordsName) {
		f.Add(text)
	}
	f.Add("0 $Forwarded\n1 NonJunk\n")
	f.Add("0 a\n0 b\n26 c\nx\n 1 y\n")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := parseKeywords(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := k.write(&b); err != nil {
			t.Fatal(err)
		}
		if again, err := parseKeywords(&b); err != nil || again != k {
			t.Errorf("%q comes back as %q, %v", k, again, err)
		}
	})
}

func FuzzFileName(f *testing.F) {
	for _, s := range []string{"1795299769.M664065P20698.host,S=123,W=131:2,FSa,x", "a:b:2,S", ":2,", "\xff", "1.M", "99999999999999999999.M1"} {
		f.Add(s, "1.M2P3.h")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		base, suffix := splitBase(a)
		if base+suffix != a {
			t.Fatalf("%q splits into %q and %q", a, base, suffix)
		}
		if arrivalOf(a).compare(arrivalOf(b)) != -arrivalOf(b).compare(arrivalOf(a)) {
			t.Errorf("order of %q and %q", a, b)
		}
		if s, w := nameSizes(base); s < -1 || w < -1 {
			t.Errorf("sizes %d, %d", s, w)
		}
		// Adding and removing what was not there gives the flags back, in order.
		_, letters, after := splitFlags(suffix)
		if strings.ContainsAny(letters, "Fz") {
			return
		}
		back := changeSuffix(changeSuffix(suffix, mailbox.AddFlags, "zF"), mailbox.RemoveFlags, "Fz")
		_, letters2, after2 := splitFlags(back)
		if after2 != after || systemOf(letters2) != systemOf(letters) {
			t.Errorf("%q becomes %q", suffix, back)
		}
		if again := changeSuffix(back, mailbox.AddFlags, ""); again != back {
			t.Errorf("%q is not in order: %q", back, again)
		}
	})
}

func TestParseLocation(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Location
	}{
		{"maildir:~/Maildir", Location{Root: "/home/u/Maildir", Layout: PlusPlus}},
		{"maildir:/m/:INDEX=/ix:CONTROL=~/ct:UTF-8", Location{Root: "/m", Layout: PlusPlus, Index: "/ix", Control: "/home/u/ct", UTF8: true}},
		{"maildir:~:LAYOUT=FS:DIRNAME=mAil:INBOX=~/in:NO-NOSELECT", Location{Root: "/home/u", Layout: FS, DirName: "mAil", Inbox: "/home/u/in", DropParents: true}},
		{"maildir:/a::b:INDEX=MEMORY:SUBSCRIPTIONS=subs", Location{Root: "/a:b", Layout: PlusPlus, Index: "MEMORY", Subscriptions: "subs"}},
		{"maildir:/m:LISTINDEX=x:VOLATILEDIR=/v", Location{Root: "/m", Layout: PlusPlus}},
	} {
		if got, err := ParseLocation(tt.in, "/home/u"); got != tt.want || err != nil {
			t.Errorf("ParseLocation(%q) = %+v, %v", tt.in, got, err)
		}
	}
	for _, in := range []string{
		"", "maildir", "mdbox:/m", "maildir:rel", "maildir:/m:LAYOUT=index", "maildir:/m:FOO=1", "maildir:/m:INDEX=rel",
		"maildir:/m:INDEXPVT=/x", "maildir:/m:DIRNAME=a", "maildir:/m:LAYOUT=fs:DIRNAME=a/b", "maildir:/m:SUBSCRIPTIONS=../x",
		"maildir:~other/m", "maildir:/m:BROKENCHAR=+",
	} {
		if _, err := ParseLocation(in, "/home/u"); !errors.Is(err, ErrLocation) {
			t.Errorf("ParseLocation(%q) gives %v", in, err)
		}
	}
	if _, err := ParseLocation("maildir:~/m", ""); !errors.Is(err, ErrLocation) {
		t.Errorf("without home: %v", err)
	}
}
