//go:build !amd64 || purego

package p521

func mul(e, a, b *element) { mulPortable(e, a, b) }
func square(e, a *element) { squarePortable(e, a) }
