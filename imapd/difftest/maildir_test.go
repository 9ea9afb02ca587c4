package difftest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Maildir is described by lines of testdata/maildirs/NAME.txt:
//
//	subscribe: Work/Plans
//	folder: Work/Plans              a Maildir++ folder; INBOX first
//	uidvalidity: 1700000001         1 more than the last folder's unless given
//	uidnext: 90                     one more than the last UID unless given
//	keywords: $Forwarded Work       dovecot-keywords: letters a, b... of file names
//	message: 7 SFa 2024-02-03T04:05:06Z simple.eml [plain]   uid, flags ("-" is none), INTERNALDATE, file of testdata/mail
//	message: new - 2024-02-03T04:05:06Z simple.eml           not yet seen by any server: in new/, without UID
//	vectors: 2024-02-03T04:05:06Z                            every message of the vectors
//	file: cur/name:2,S 2024-02-03T04:05:06Z simple.eml       a file of which dovecot-uidlist knows nothing
//	record: 7 :name                                          a line of dovecot-uidlist as it stands
//	directory: .odd                                          a directory as it stands, below the root
//
// "plain" leaves S= and W= out of the file name.
type builder struct {
	root     string
	folder   string // path of the current one
	validity uint32
	next     uint32
	keywords []string
	uidlist  []string
	count    int // messages of all folders
	subs     []string
}

// buildMaildir makes the Maildir that a file describes.
func buildMaildir(name, root string) error {
	text, err := os.ReadFile(filepath.Join("testdata/maildirs", name+".txt"))
	if err != nil {
		return err
	}
	b := &builder{root: root, validity: 1_700_000_000}
	for i, line := range strings.Split(string(text), "\n") {
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, _ := strings.Cut(line, ": ")
		if err := b.line(key, strings.TrimSpace(value)); err != nil {
			return fmt.Errorf("%s line %d: %w", name, i+1, err)
		}
	}
	if err := b.finish(); err != nil {
		return err
	}
	if len(b.subs) == 0 {
		return nil
	}
	return os.WriteFile(filepath.Join(root, "subscriptions"), []byte("V\t2\n\n"+strings.Join(b.subs, "\n")+"\n"), 0o600)
}

func (b *builder) line(key, value string) error {
	switch key {
	case "subscribe":
		b.subs = append(b.subs, strings.ReplaceAll(value, "/", "\t"))
	case "folder":
		if err := b.finish(); err != nil {
			return err
		}
		b.validity, b.next, b.keywords, b.uidlist = b.validity+1, 1, nil, nil
		b.folder = folderPath(b.root, value)
		for _, d := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(b.folder, d), 0o700); err != nil {
				return err
			}
		}
		if value != "INBOX" {
			return os.WriteFile(filepath.Join(b.folder, "maildirfolder"), nil, 0o600)
		}
	case "uidvalidity", "uidnext":
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return err
		}
		if key == "uidnext" {
			b.next = uint32(n)
		} else {
			b.validity = uint32(n)
		}
	case "keywords":
		b.keywords = strings.Fields(value)
	case "message":
		return b.message(strings.Fields(value))
	case "file":
		return b.file(strings.Fields(value))
	case "record":
		b.uidlist = append(b.uidlist, value+"\n")
	case "directory":
		return os.MkdirAll(filepath.Join(b.root, value), 0o700)
	case "vectors":
		return b.vectors(value)
	default:
		return fmt.Errorf("unknown line %q", key)
	}
	return nil
}

func (b *builder) message(f []string) error {
	if len(f) < 4 {
		return errors.New("a message has 4 fields")
	}
	text, err := os.ReadFile(filepath.Join("testdata/mail", f[3]))
	if err != nil {
		return err
	}
	date, err := time.Parse(time.RFC3339, f[2])
	if err != nil {
		return err
	}
	return b.add(f[0], strings.Trim(f[1], "-"), date, text, len(f) > 4 && f[4] == "plain")
}

func (b *builder) add(uid, flags string, date time.Time, text []byte, plain bool) error {
	b.count++
	base := fmt.Sprintf("%d.M%dP1.host", 1_700_000_000+b.count, b.count)
	name := base
	if !plain {
		lf := strings.Count(string(text), "\n") - strings.Count(string(text), "\r\n")
		name += fmt.Sprintf(",S=%d,W=%d", len(text), len(text)+lf)
	}
	path := filepath.Join(b.folder, "new", name)
	if uid != "new" {
		n, err := strconv.ParseUint(uid, 10, 32)
		if err != nil {
			return err
		}
		b.next = max(b.next, uint32(n)+1)
		b.uidlist = append(b.uidlist, fmt.Sprintf("%d :%s\n", n, name))
		path = filepath.Join(b.folder, "cur", name+":2,"+flags)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	return os.Chtimes(path, date, date)
}

// file writes a message under a name of its own.
func (b *builder) file(f []string) error {
	if len(f) != 3 {
		return errors.New("a file has 3 fields")
	}
	text, err := os.ReadFile(filepath.Join("testdata/mail", f[2]))
	if err != nil {
		return err
	}
	date, err := time.Parse(time.RFC3339, f[1])
	if err != nil {
		return err
	}
	path := filepath.Join(b.folder, f[0])
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	return os.Chtimes(path, date, date)
}

func (b *builder) vectors(date string) error {
	at, err := time.Parse(time.RFC3339, date)
	if err != nil {
		return err
	}
	paths, err := filepath.Glob("../../testdata/vectors/messages/*.eml")
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("no vectors: %v", err)
	}
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		// What looks encrypted or compressed would be taken for it: a message begins with a letter.
		if len(text) == 0 || len(text) > 100_000 || text[0] > 'z' || text[0] < ' ' || strings.HasPrefix(string(text), "CRYPTED") || strings.HasPrefix(string(text), "BZ") {
			continue
		}
		if err := b.add(strconv.Itoa(int(b.next)), "", at, text, true); err != nil {
			return err
		}
	}
	return nil
}

// finish writes the files of the current folder.
func (b *builder) finish() error {
	if b.folder == "" {
		return nil
	}
	list := fmt.Sprintf("3 V%d N%d G%032x\n", b.validity, b.next, b.validity) + strings.Join(b.uidlist, "")
	if err := os.WriteFile(filepath.Join(b.folder, "dovecot-uidlist"), []byte(list), 0o600); err != nil {
		return err
	}
	if len(b.keywords) == 0 {
		return nil
	}
	words := ""
	for i, k := range b.keywords {
		words += fmt.Sprintf("%d %s\n", i, k)
	}
	return os.WriteFile(filepath.Join(b.folder, "dovecot-keywords"), []byte(words), 0o600)
}

// folderPath is the directory of a mailbox in Maildir++.
func folderPath(root, name string) string {
	if name == "INBOX" {
		return root
	}
	return filepath.Join(root, "."+strings.ReplaceAll(name, "/", "."))
}

// copyTree copies a directory with times; uid and gid own the copy where uid is not negative.
func copyTree(from, to string, uid, gid int) error {
	type stamp struct {
		path string
		at   time.Time
	}
	var dirs []stamp
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() {
			dirs = append(dirs, stamp{target, info.ModTime()})
			if err := os.MkdirAll(target, 0o700); err != nil {
				return err
			}
		} else {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := os.WriteFile(target, b, 0o600); err != nil {
				return err
			}
			if err := os.Chtimes(target, info.ModTime(), info.ModTime()); err != nil {
				return err
			}
		}
		if uid < 0 {
			return nil
		}
		return os.Chown(target, uid, gid)
	})
	for i := len(dirs) - 1; i >= 0 && err == nil; i-- {
		err = os.Chtimes(dirs[i].path, dirs[i].at, dirs[i].at)
	}
	return err
}
