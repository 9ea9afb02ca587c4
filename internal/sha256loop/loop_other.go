//go:build !amd64 || purego

package sha256loop

const accelerated = false

func iterate(*lanes, int) { panic("sha256loop: internal error: no assembler") }

func chain(*[8]uint32, uint32, uint32) { panic("sha256loop: internal error: no assembler") }

func compress(*[8]uint32, *[blockSize]byte) { panic("sha256loop: internal error: no assembler") }
