package main

import (
	"bytes"
	"testing"
)

func TestMailsAreOfTheirSize(t *testing.T) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		for n := range 60 {
			m := mail(n, size)
			if len(m) != size {
				t.Errorf("mail %d has %d bytes, want %d", n, len(m), size)
			}
			if !bytes.Equal(m, mail(n, size)) {
				t.Errorf("mail %d of %d bytes differs from itself", n, size)
			}
			if bytes.Contains(m, []byte("\r\n.")) || bytes.Count(m, []byte("\n")) != bytes.Count(m, []byte("\r\n")) || bytes.Count(m, []byte("\r")) != bytes.Count(m, []byte("\n")) || !bytes.HasSuffix(m, []byte("\r\n")) {
				t.Errorf("mail %d of %d bytes: lines", n, size)
			}
		}
	}
}

func TestRareMail(t *testing.T) {
	for n := range 300 {
		m := mail(n, 4096)
		want := n%rareEvery == 7
		if bytes.Contains(m, []byte(rareWord)) != want || bytes.Contains(m, []byte(rareSender)) != want {
			t.Errorf("mail %d: rare words are there or not, against the rule", n)
		}
	}
}

func TestCheck(t *testing.T) {
	m := mail(7, 4096)
	delivered := append([]byte("Return-Path: <x@y.example>\r\n"), m...)
	if err := check(delivered); err != nil {
		t.Error(err)
	}
	delivered[len(delivered)-9] ^= 1
	if check(delivered) == nil || check(m[:2000]) == nil || check(nil) == nil {
		t.Error("a damaged mail is taken for whole")
	}
}
