package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNothingPrintsASecret(t *testing.T) {
	const word = "hunter2-hunter2"
	s := New([]byte(word))
	type holder struct {
		Exported Bytes
		hidden   Bytes
		pointer  *Bytes
	}
	h := holder{s, s, &s}
	var logged bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
		slog.New(handler).Info("login", "password", s, "holder", h)
	}
	out := logged.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		out += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, &s) + fmt.Sprintf(verb, h) + fmt.Sprintf(verb, &h)
	}
	for _, form := range []string{word, fmt.Sprintf("%x", word), fmt.Sprintf("%X", word), fmt.Sprint([]byte(word))} {
		if strings.Contains(out, strings.Trim(form, "[]")) {
			t.Errorf("secret printed as %q", form)
		}
	}
	if got := fmt.Sprint(s); got != placeholder {
		t.Errorf("Sprint = %q, want %q", got, placeholder)
	}
	if _, err := json.Marshal(s); err == nil {
		t.Error("json.Marshal of a secret succeeded")
	}
}

func TestBytes(t *testing.T) {
	raw := []byte("abc")
	s := New(raw)
	for _, tt := range []struct {
		name string
		a, b Bytes
		want bool
	}{
		{"same", s, New([]byte("abc")), true},
		{"other", s, New([]byte("abd")), false},
		{"prefix", s, New([]byte("ab")), false},
		{"unset and empty", Bytes{}, New(nil), true},
	} {
		if got := tt.a.Equal(tt.b); got != tt.want {
			t.Errorf("%s: Equal = %v, want %v", tt.name, got, tt.want)
		}
	}
	if s.IsZero() || New(nil).IsZero() || !(Bytes{}).IsZero() {
		t.Error("IsZero must hold only for a secret that was never set")
	}
	s.Clear()
	if !bytes.Equal(raw, make([]byte, 3)) {
		t.Errorf("after Clear the bytes are %x", raw)
	}
	Bytes{}.Clear() // must not panic
	if (Bytes{}).Bytes() != nil {
		t.Error("an unset secret has bytes")
	}
}
