package admin

import (
	"context"
	"strings"

	"mailcrypt/attrdict"
)

// spoil writes a name of alice's dictionary, or removes it, while nobody has it open.
func (w *world) spoil(name string, value []byte) {
	w.t.Helper()
	w.change(func(tx attrdict.Tx) error {
		if value == nil {
			return tx.Unset(name)
		}
		return tx.Set(name, value)
	})
}

// wipe removes every key.
func (w *world) wipe() {
	w.t.Helper()
	w.change(func(tx attrdict.Tx) error {
		var names []string
		err := tx.Iterate("", func(name string, _ []byte) error {
			if strings.Contains(name, "/pvt/") {
				names = append(names, name)
			}
			return nil
		})
		for _, name := range names {
			if err == nil {
				err = tx.Unset(name)
			}
		}
		return err
	})
}

func (w *world) change(fn func(attrdict.Tx) error) {
	w.t.Helper()
	w.reopen()
	d, err := attrdict.Open(w.dict, w.dir+"/alice")
	if err != nil {
		w.t.Fatal(err)
	}
	defer d.Close()
	if err := d.Update(context.Background(), fn); err != nil {
		w.t.Fatal(err)
	}
}
