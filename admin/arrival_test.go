package admin

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// A slowContext makes what asks it often take long enough to report its progress.
type slowContext struct{ context.Context }

func (c slowContext) Err() error {
	time.Sleep(20 * time.Millisecond)
	return c.Context.Err()
}

// TestCheckWhileMailComes has mail come, with keys of its own, while headers are read.
func TestCheckWhileMailComes(t *testing.T) {
	eachDict(t, func(t *testing.T, w *world) {
		var folders []string
		for i := range 16 {
			folders = append(folders, fmt.Sprintf("F%d", i))
		}
		w.create(folders...)
		for _, f := range folders {
			w.deliver(f)
		}
		came := 0
		comes := WithProgress(slowContext{ctx}, func(Progress) {
			if came++; came > 1 {
				return
			}
			if _, err := w.Generate(ctx, GenerateRequest{User: "alice", Folders: []string{"F*"}, Force: true}); err != nil {
				t.Error(err)
			}
			for _, f := range folders {
				w.deliver(f)
			}
		})
		r, err := w.Check(comes, CheckRequest{User: "alice"})
		if err != nil || !r.Healthy || came == 0 {
			t.Errorf("%d missing, %v; mail came %d times", len(r.Missing), err, came)
		}
		came = 0
		list, err := w.List(comes, ListRequest{User: "alice", Count: true})
		if err != nil || came == 0 {
			t.Errorf("%v; mail came %d times", err, came)
		}
		for _, k := range list.Keys {
			if k.State != "" || k.Problem != "" {
				t.Errorf("listed: %+v", k)
			}
		}
	})
}
