//go:build !amd64 || purego

package gcmwide

// Available reports whether New can make keys.
func Available() bool { return false }

func crypt(*Key, *[16]byte, *[16]byte, *byte, *byte, *byte, int) { panic(noAssembler) }
func ctr(*Key, *[16]byte, *byte, *byte, int)                     { panic(noAssembler) }
func ghash(*Key, *[16]byte, *byte, int)                          { panic(noAssembler) }
func powers(*Key, *[2]uint64)                                    { panic(noAssembler) }
func multiply(*[2]uint64, *[2]uint64)                            { panic(noAssembler) }
func subWord(uint32) uint32                                      { panic(noAssembler) }

const noAssembler = "gcmwide: internal error: no assembler"
