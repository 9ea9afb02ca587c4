package acceptance

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// testImapflow runs testdata/imapflow/roundtrip.mjs, which uses extensions as soon as they
// are offered: once all of them, and once IMAP4rev1 with CONDSTORE alone.
func testImapflow(t *testing.T, b *box) {
	out, _ := exec.Command("node", "--version").Output()
	major, _, _ := strings.Cut(strings.TrimPrefix(string(out), "v"), ".")
	if n, _ := strconv.Atoi(major); n < 20 {
		t.Skipf("imapflow needs Node.js 20, here is %s", out)
	}
	client := filepath.Join(b.tmp, "client")
	for _, name := range []string{"package.json", "package-lock.json", "roundtrip.mjs"} {
		text, err := os.ReadFile(filepath.Join("testdata", "imapflow", name))
		if err != nil {
			t.Fatal(err)
		}
		b.file("client/"+name, "%s", text)
	}
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	npm.Dir = client
	if out, err := npm.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install imapflow here: %v\n%s", err, tail(string(out), 1000))
	}
	t.Run("QRESYNC", func(t *testing.T) { b.t = t; useImapflow(b, client, map[string]bool{"qresync": true}) })
	t.Run("CONDSTORE", func(t *testing.T) {
		useImapflow(newBox(t), client, map[string]bool{"disableIMAP4rev2": true, "disableCompression": true})
	})
}

func useImapflow(b *box, client string, options map[string]bool) {
	t := b.t
	files := map[string]string{}
	for _, m := range append([]boxMessage{{"small", eightBitMail("small")}, {"large", mail("large", 3<<20)}}, boxMail...) {
		files[m.subject] = b.file("messages/"+m.subject, "%s", m.message)
	}
	args, err := json.Marshal(map[string]any{"port": b.port, "ca": b.cert, "options": options, "umlaut": umlaut, "files": files})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := b.command(ctx, "node", filepath.Join(client, "roundtrip.mjs"), string(args))
	var stderr logBuffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var asks struct {
			Log, Deliver, IMAP string
			Restart, Done      bool
		}
		if err := json.Unmarshal(lines.Bytes(), &asks); err != nil {
			t.Errorf("imapflow said %q", lines.Text())
		}
		switch {
		case asks.Log != "":
			t.Log(asks.Log)
		case asks.Deliver != "":
			b.deliver(mail(asks.Deliver, 600))
		case asks.IMAP != "":
			b.c.do("SELECT INBOX")
			if a := b.c.do("%s", asks.IMAP); !a.ok() {
				t.Error(asks.IMAP, a.tagged)
			}
		case asks.Restart:
			b.restart()
		}
		done = done || asks.Done
		in.Write([]byte("done\n"))
	}
	if err := cmd.Wait(); err != nil || !done {
		t.Fatalf("imapflow: %v\n%s", err, tail(stderr.String(), 4000))
	}
	b.has("INBOX", "message 0", "parts", "delivered")
	b.has("Work", "parts")
	b.has("Work.Sub", "eight bits", "short-lived")
	if got := b.has(umlautUTF7, "big"); string(got["big"].body) != string(mail("big", 2<<20)) {
		t.Error("the message that was moved differs")
	}
	b.flags("INBOX", "message 0", "$Changed")
}
