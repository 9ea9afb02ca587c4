package keys

import (
	"context"
	"testing"

	"mailcrypt/attrdict"
	"mailcrypt/dcrypt"
	"mailcrypt/mailbox"
)

// hundredFolders is a user with as many folder keys, on the curve that mailcryptd makes keys on.
func hundredFolders(b *testing.B) attrdict.Dict {
	b.Helper()
	d := openDict(b)
	c := Config{Curve: dcrypt.Secp521r1, Password: password("old"), RequireSealed: true, Seal: dcrypt.SealOptions{Rounds: 2048}}
	k := New(d, inbox, c, nil)
	r, err := k.Unlock(context.Background(), Secret{})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	folders := []mailbox.GUID{inbox}
	for i := range 99 {
		folders = append(folders, mailbox.GUID{7, byte(i)})
	}
	if _, err := k.GenerateFolderKeys(context.Background(), folders, false, nil); err != nil {
		b.Fatal(err)
	}
	return d
}

// perOp reports how many operations on curves each round cost.
func perOp(b *testing.B, m *Memory, since [2]int64) {
	computed, agreed := m.Known().Operations()
	b.ReportMetric(float64(computed-since[0])/float64(b.N), "points/op")
	b.ReportMetric(float64(agreed-since[1])/float64(b.N), "agreements/op")
}

// BenchmarkLogin is what the keys cost of a login of a user with a hundred folders: the first
// one of a process with all that is done behind it, and each after that.
func BenchmarkLogin(b *testing.B) {
	d := hundredFolders(b)
	login := func(m *Memory, verify bool) {
		c := Config{Curve: dcrypt.Secp521r1, Password: password("old"), RequireSealed: true, Seal: dcrypt.SealOptions{Rounds: 2048}, Memory: m}
		k := New(d, inbox, c, nil)
		r, err := k.Unlock(context.Background(), Secret{})
		if err != nil || r.State().Locked() {
			b.Fatal("the login opens nothing: ", err)
		}
		defer r.Close()
		todo, err := k.Unverified(context.Background(), r)
		if err != nil {
			b.Fatal(err)
		}
		if !verify {
			return
		}
		for _, g := range todo {
			if err := k.VerifyFolder(context.Background(), r, g); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("first", func(b *testing.B) {
		var m *Memory
		for b.Loop() {
			m = &Memory{}
			login(m, false)
		}
		computed, agreed := m.Known().Operations()
		b.ReportMetric(float64(computed), "points/op")
		b.ReportMetric(float64(agreed), "agreements/op")
	})
	b.Run("first-verified", func(b *testing.B) {
		var m *Memory
		for b.Loop() {
			m = &Memory{}
			login(m, true)
		}
		computed, agreed := m.Known().Operations()
		b.ReportMetric(float64(computed), "points/op")
		b.ReportMetric(float64(agreed), "agreements/op")
	})
	b.Run("later", func(b *testing.B) {
		m := &Memory{}
		login(m, true)
		computed, agreed := m.Known().Operations()
		for b.Loop() {
			login(m, true)
		}
		perOp(b, m, [2]int64{computed, agreed})
	})
}

// BenchmarkPasswordChange changes the password of a user with a hundred folders.
func BenchmarkPasswordChange(b *testing.B) {
	d := hundredFolders(b)
	m := &Memory{}
	k := New(d, inbox, Config{Curve: dcrypt.Secp521r1, Password: AbsentSecret(), Seal: dcrypt.SealOptions{Rounds: 2048}, Memory: m}, nil)
	old, fresh := "old", "new"
	for b.Loop() {
		rows, err := k.Reseal(context.Background(), []Secret{password(old)}, Seal{Password: password(fresh)})
		if err != nil || len(rows) != 1 || rows[0].Err != nil {
			b.Fatal(rows, err)
		}
		old, fresh = fresh, old
	}
	perOp(b, m, [2]int64{})
}

// BenchmarkRewrap puts a hundred folder keys under a new user key.
func BenchmarkRewrap(b *testing.B) {
	d := hundredFolders(b)
	m := &Memory{}
	k := New(d, inbox, Config{Curve: dcrypt.Secp521r1, RequireSealed: true, Seal: dcrypt.SealOptions{Rounds: 2048}, Memory: m}, nil)
	for b.Loop() {
		if _, err := k.GenerateUserKey(context.Background(), password("old"), true); err != nil {
			b.Fatal(err)
		}
		_, rows, err := k.Rewrap(context.Background(), []Secret{password("old")}, nil, false, nil)
		if err != nil || len(rows) != 100 || !rows[0].Changed {
			b.Fatal(len(rows), err)
		}
	}
	perOp(b, m, [2]int64{})
}

// BenchmarkFirstRead finds and opens the key of a folder, as the first message does that a
// session reads in it.
func BenchmarkFirstRead(b *testing.B) {
	d := hundredFolders(b)
	m := &Memory{}
	k := New(d, inbox, Config{Curve: dcrypt.Secp521r1, Password: password("old"), RequireSealed: true, Seal: dcrypt.SealOptions{Rounds: 2048}, Memory: m}, nil)
	pub, err := k.PublicKey(context.Background(), inbox, Secret{})
	if err != nil {
		b.Fatal(err)
	}
	r, err := k.Unlock(context.Background(), Secret{})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	computed, agreed := m.Known().Operations()
	for b.Loop() {
		clear(r.folder)
		if _, err := r.PrivateKey(pub.ID()); err != nil {
			b.Fatal(err)
		}
	}
	perOp(b, m, [2]int64{computed, agreed})
}
