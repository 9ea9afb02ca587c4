package admin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// differs are fields whose values are others with each run; the document has examples.
var differs = map[string]bool{"pid": true, "uid_validity": true, "stored": true, "rounds": true}

// TestProtocolSessions sends the sessions of the protocol's document to a real server, line by
// line, and compares its answers with those of the document. There "…" is any string.
func TestProtocolSessions(t *testing.T) {
	text, err := os.ReadFile(protocolDoc)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, dicts[0])
	w.Build, w.Daemon = "test", true
	_, path := serve(t, w.Local)
	var conn net.Conn
	var in *bufio.Reader
	var token string
	sessions, lines := 0, 0
	for n, line := range strings.Split(string(text), "\n") {
		where := fmt.Sprintf("%s:%d", protocolDoc, n+1)
		if sent, ok := strings.CutPrefix(line, "    C: "); ok {
			fmt.Fprintln(conn, strings.ReplaceAll(sent, `"token":"…"`, `"token":"`+token+`"`))
			continue
		}
		want, ok := strings.CutPrefix(line, "    S: ")
		if !ok {
			continue
		}
		if strings.HasPrefix(want, "mailcryptd-admin") {
			if conn != nil {
				conn.Close()
			}
			if conn, err = net.Dial("unix", path); err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute))
			in = bufio.NewReader(conn)
			sessions++
		}
		got, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		lines++
		if strings.HasPrefix(want, "mailcryptd-admin") {
			if got != want+"\n" {
				t.Errorf("%s: %s, want %s", where, got, want)
			}
			continue
		}
		var is, be map[string]any
		if err := json.Unmarshal([]byte(got), &is); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		if err := json.Unmarshal([]byte(want), &be); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		if r, ok := is["result"].(map[string]any); ok {
			token, _ = r["token"].(string)
		}
		if bad := unlike("", be, is); bad != "" {
			t.Errorf("%s: %s\n%s", where, bad, got)
		}
	}
	if sessions < 3 || lines < 12 {
		t.Errorf("only %d sessions and %d lines were found", sessions, lines)
	}
	if n, err := w.inbox("old"); err == nil && n > 0 {
		t.Error("the change of the second session was not made")
	}
}

// unlike says where two values of JSON differ; "" where they do not.
func unlike(at string, want, is any) string {
	switch want := want.(type) {
	case map[string]any:
		is, ok := is.(map[string]any)
		if !ok {
			return at + " is no object"
		}
		for k := range is {
			if _, there := want[k]; !there {
				return at + "." + k + " is not in the document"
			}
		}
		for k, v := range want {
			x, there := is[k]
			if !there {
				return at + "." + k + " is missing"
			}
			if bad := unlike(at+"."+k, v, x); bad != "" && !differs[k] {
				return bad
			}
		}
		return ""
	case []any:
		is, ok := is.([]any)
		if !ok || len(is) != len(want) {
			return at + " is another list"
		}
		for i := range want {
			if bad := unlike(fmt.Sprintf("%s[%d]", at, i), want[i], is[i]); bad != "" {
				return bad
			}
		}
		return ""
	case string:
		if _, ok := is.(string); ok && want == "…" {
			return ""
		}
	}
	if !reflect.DeepEqual(want, is) {
		return fmt.Sprintf("%s is %v, want %v", at, is, want)
	}
	return ""
}
