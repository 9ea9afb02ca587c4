//go:build !purego

package p521

//go:generate go run gen.go gen_wide.go

// mul sets e to a times b, either of which it may be.
//
//go:noescape
func mul(e, a, b *element)

// square sets e to a times a, which it may be.
//
//go:noescape
func square(e, a *element)
