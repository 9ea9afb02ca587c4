//go:build !purego

#include "textflag.h"

// The round constants of SHA-256 (FIPS 180-4 section 4.2.2).
DATA k<>+0x00(SB)/8, $0x71374491428a2f98
DATA k<>+0x08(SB)/8, $0xe9b5dba5b5c0fbcf
DATA k<>+0x10(SB)/8, $0x59f111f13956c25b
DATA k<>+0x18(SB)/8, $0xab1c5ed5923f82a4
DATA k<>+0x20(SB)/8, $0x12835b01d807aa98
DATA k<>+0x28(SB)/8, $0x550c7dc3243185be
DATA k<>+0x30(SB)/8, $0x80deb1fe72be5d74
DATA k<>+0x38(SB)/8, $0xc19bf1749bdc06a7
DATA k<>+0x40(SB)/8, $0xefbe4786e49b69c1
DATA k<>+0x48(SB)/8, $0x240ca1cc0fc19dc6
DATA k<>+0x50(SB)/8, $0x4a7484aa2de92c6f
DATA k<>+0x58(SB)/8, $0x76f988da5cb0a9dc
DATA k<>+0x60(SB)/8, $0xa831c66d983e5152
DATA k<>+0x68(SB)/8, $0xbf597fc7b00327c8
DATA k<>+0x70(SB)/8, $0xd5a79147c6e00bf3
DATA k<>+0x78(SB)/8, $0x1429296706ca6351
DATA k<>+0x80(SB)/8, $0x2e1b213827b70a85
DATA k<>+0x88(SB)/8, $0x53380d134d2c6dfc
DATA k<>+0x90(SB)/8, $0x766a0abb650a7354
DATA k<>+0x98(SB)/8, $0x92722c8581c2c92e
DATA k<>+0xa0(SB)/8, $0xa81a664ba2bfe8a1
DATA k<>+0xa8(SB)/8, $0xc76c51a3c24b8b70
DATA k<>+0xb0(SB)/8, $0xd6990624d192e819
DATA k<>+0xb8(SB)/8, $0x106aa070f40e3585
DATA k<>+0xc0(SB)/8, $0x1e376c0819a4c116
DATA k<>+0xc8(SB)/8, $0x34b0bcb52748774c
DATA k<>+0xd0(SB)/8, $0x4ed8aa4a391c0cb3
DATA k<>+0xd8(SB)/8, $0x682e6ff35b9cca4f
DATA k<>+0xe0(SB)/8, $0x78a5636f748f82ee
DATA k<>+0xe8(SB)/8, $0x8cc7020884c87814
DATA k<>+0xf0(SB)/8, $0xa4506ceb90befffa
DATA k<>+0xf8(SB)/8, $0xc67178f2bef9a3f7
GLOBL k<>(SB), RODATA|NOPTR, $256

// What follows 32 octets in a block of HMAC: the end of the message, and its length of 96
// octets in bits.
DATA pad<>+0x00(SB)/8, $0x0000000080000000
DATA pad<>+0x08(SB)/8, $0x0000000000000000
DATA pad<>+0x10(SB)/8, $0x0000000000000000
DATA pad<>+0x18(SB)/8, $0x0000030000000000
GLOBL pad<>(SB), RODATA|NOPTR, $32

// What follows 36 octets in a block of Chain, but for the number before it.
DATA end<>+0x00(SB)/8, $0x8000000000000000
DATA end<>+0x08(SB)/8, $0x0000000000000000
DATA end<>+0x10(SB)/8, $0x0000000000000000
DATA end<>+0x18(SB)/8, $0x0000012000000000
GLOBL end<>(SB), RODATA|NOPTR, $32

// One lane of SHA-256 is a state in two registers, s0 = ABEF and s1 = CDGH, and sixteen
// words of the message schedule in m0 to m3, the oldest first. X0 is what SHA256RNDS2 takes
// round constants and words from. Lane A has X1 to X7, lane B X8 to X14; BX points to k.

// Four rounds.
#define ROUNDS(at, m, s0, s1) \
	MOVOU	at(BX), X0; \
	PADDD	m, X0; \
	SHA256RNDS2	X0, s0, s1; \
	PSHUFD	$0x0e, X0, X0; \
	SHA256RNDS2	X0, s1, s0

// The four words that follow m3, in place of m0: W[t-16] + s0(W[t-15]) is there already.
#define SCHEDULE(m0, m2, m3, tmp) \
	MOVO	m3, tmp; \
	PALIGNR	$4, m2, tmp; \
	PADDD	tmp, m0; \
	SHA256MSG2	m3, m0

// Four rounds with the words in cur; then the words after them in place of next, and the
// first half of the ones that will take prev's place.
#define STEP(at, next, prev, cur, s0, s1, tmp) \
	ROUNDS(at, cur, s0, s1); \
	SCHEDULE(next, prev, cur, tmp); \
	SHA256MSG1	cur, prev

#define RA(at, cur)	ROUNDS(at, cur, X1, X2)
#define RB(at, cur)	ROUNDS(at, cur, X8, X9)
#define STEPA(at, next, prev, cur)	STEP(at, next, prev, cur, X1, X2, X7)
#define STEPB(at, next, prev, cur)	STEP(at, next, prev, cur, X8, X9, X14)

// From words in order to ABEF and CDGH: s0 has ABCD, s1 EFGH.
#define ENTER(s0, s1, tmp) \
	PSHUFD	$0xb1, s0, tmp; \
	PSHUFD	$0x1b, s1, s1; \
	MOVO	tmp, s0; \
	PALIGNR	$8, s1, s0; \
	PBLENDW	$0xf0, tmp, s1

// And back.
#define LEAVE(s0, s1, tmp) \
	PSHUFD	$0x1b, s0, tmp; \
	PSHUFD	$0xb1, s1, s1; \
	MOVO	tmp, s0; \
	PBLENDW	$0xf0, s1, s0; \
	PALIGNR	$8, tmp, s1

// One compression of lane A: 64 rounds of the message in X3 to X6.
#define COMPRESS_A \
	RA(0x00, X3); \
	RA(0x10, X4); \
	SHA256MSG1	X4, X3; \
	RA(0x20, X5); \
	SHA256MSG1	X5, X4; \
	STEPA(0x30, X3, X5, X6); \
	STEPA(0x40, X4, X6, X3); \
	STEPA(0x50, X5, X3, X4); \
	STEPA(0x60, X6, X4, X5); \
	STEPA(0x70, X3, X5, X6); \
	STEPA(0x80, X4, X6, X3); \
	STEPA(0x90, X5, X3, X4); \
	STEPA(0xa0, X6, X4, X5); \
	STEPA(0xb0, X3, X5, X6); \
	STEPA(0xc0, X4, X6, X3); \
	RA(0xd0, X4); \
	SCHEDULE(X5, X3, X4, X7); \
	RA(0xe0, X5); \
	SCHEDULE(X6, X4, X5, X7); \
	RA(0xf0, X6)

// The same of both lanes, step by step; lane B has its message in X10 to X13.
#define COMPRESS_AB \
	RA(0x00, X3); \
	RB(0x00, X10); \
	RA(0x10, X4); \
	SHA256MSG1	X4, X3; \
	RB(0x10, X11); \
	SHA256MSG1	X11, X10; \
	RA(0x20, X5); \
	SHA256MSG1	X5, X4; \
	RB(0x20, X12); \
	SHA256MSG1	X12, X11; \
	STEPA(0x30, X3, X5, X6); \
	STEPB(0x30, X10, X12, X13); \
	STEPA(0x40, X4, X6, X3); \
	STEPB(0x40, X11, X13, X10); \
	STEPA(0x50, X5, X3, X4); \
	STEPB(0x50, X12, X10, X11); \
	STEPA(0x60, X6, X4, X5); \
	STEPB(0x60, X13, X11, X12); \
	STEPA(0x70, X3, X5, X6); \
	STEPB(0x70, X10, X12, X13); \
	STEPA(0x80, X4, X6, X3); \
	STEPB(0x80, X11, X13, X10); \
	STEPA(0x90, X5, X3, X4); \
	STEPB(0x90, X12, X10, X11); \
	STEPA(0xa0, X6, X4, X5); \
	STEPB(0xa0, X13, X11, X12); \
	STEPA(0xb0, X3, X5, X6); \
	STEPB(0xb0, X10, X12, X13); \
	STEPA(0xc0, X4, X6, X3); \
	STEPB(0xc0, X11, X13, X10); \
	RA(0xd0, X4); \
	SCHEDULE(X5, X3, X4, X7); \
	RB(0xd0, X11); \
	SCHEDULE(X12, X10, X11, X14); \
	RA(0xe0, X5); \
	SCHEDULE(X6, X4, X5, X7); \
	RB(0xe0, X12); \
	SCHEDULE(X13, X11, X12, X14); \
	RA(0xf0, X6); \
	RB(0xf0, X13)

// One half of HMAC for both lanes: the state at from(DI) takes in the digests in X3, X4 and
// X10, X11, which it leaves there.
#define HALF(from) \
	MOVOU	from(DI), X1; \
	MOVOU	(from+16)(DI), X2; \
	ENTER(X1, X2, X7); \
	MOVO	X1, X8; \
	MOVO	X2, X9; \
	MOVOU	pad<>+0x00(SB), X5; \
	MOVOU	pad<>+0x10(SB), X6; \
	MOVO	X5, X12; \
	MOVO	X6, X13; \
	COMPRESS_AB; \
	LEAVE(X1, X2, X7); \
	LEAVE(X8, X9, X14); \
	MOVOU	from(DI), X3; \
	MOVOU	(from+16)(DI), X4; \
	MOVO	X3, X10; \
	MOVO	X4, X11; \
	PADDD	X1, X3; \
	PADDD	X2, X4; \
	PADDD	X8, X10; \
	PADDD	X9, X11

// XOR a register into t.
#define GATHER(at, x) \
	MOVOU	at(DI), X0; \
	PXOR	x, X0; \
	MOVOU	X0, at(DI)

// Registers that held states are emptied: they are secrets.
#define WIPE \
	PXOR	X0, X0; \
	PXOR	X1, X1; \
	PXOR	X2, X2; \
	PXOR	X3, X3; \
	PXOR	X4, X4; \
	PXOR	X5, X5; \
	PXOR	X6, X6; \
	PXOR	X7, X7; \
	PXOR	X8, X8; \
	PXOR	X9, X9; \
	PXOR	X10, X10; \
	PXOR	X11, X11; \
	PXOR	X12, X12; \
	PXOR	X13, X13; \
	PXOR	X14, X14

// func iterate(l *lanes, rounds int)
//
// lanes: inner at 0, outer at 32, u at 64 and 96, t at 128 and 160.
TEXT ·iterate(SB), NOSPLIT, $0-16
	MOVQ	l+0(FP), DI
	MOVQ	rounds+8(FP), CX
	LEAQ	k<>(SB), BX
	MOVOU	64(DI), X3
	MOVOU	80(DI), X4
	MOVOU	96(DI), X10
	MOVOU	112(DI), X11

round:
	HALF(0)
	HALF(32)
	GATHER(128, X3)
	GATHER(144, X4)
	GATHER(160, X10)
	GATHER(176, X11)
	DECQ	CX
	JNZ	round

	MOVOU	X3, 64(DI)
	MOVOU	X4, 80(DI)
	MOVOU	X10, 96(DI)
	MOVOU	X11, 112(DI)
	WIPE
	RET

// func chain(state *[8]uint32, i, n uint32)
TEXT ·chain(SB), NOSPLIT, $0-16
	MOVQ	state+0(FP), DI
	MOVL	i+8(FP), SI
	MOVL	n+12(FP), CX
	LEAQ	k<>(SB), BX
	MOVOU	(DI), X3
	MOVOU	16(DI), X4
	MOVOU	·initial+0(SB), X10
	MOVOU	·initial+16(SB), X11
	MOVO	X10, X8
	MOVO	X11, X9
	ENTER(X8, X9, X7)

next:
	MOVO	X8, X1
	MOVO	X9, X2
	MOVOU	end<>+0x00(SB), X5
	MOVOU	end<>+0x10(SB), X6
	MOVQ	SI, X0
	POR	X0, X5
	COMPRESS_A
	LEAVE(X1, X2, X7)
	MOVO	X1, X3
	MOVO	X2, X4
	PADDD	X10, X3
	PADDD	X11, X4
	INCL	SI
	DECL	CX
	JNZ	next

	MOVOU	X3, (DI)
	MOVOU	X4, 16(DI)
	WIPE
	RET

// func compressWords(state *[8]uint32, block *[16]uint32)
TEXT ·compressWords(SB), NOSPLIT, $0-16
	MOVQ	state+0(FP), DI
	MOVQ	block+8(FP), SI
	LEAQ	k<>(SB), BX
	MOVOU	(DI), X1
	MOVOU	16(DI), X2
	MOVO	X1, X8
	MOVO	X2, X9
	ENTER(X1, X2, X7)
	MOVOU	(SI), X3
	MOVOU	16(SI), X4
	MOVOU	32(SI), X5
	MOVOU	48(SI), X6
	COMPRESS_A
	LEAVE(X1, X2, X7)
	PADDD	X8, X1
	PADDD	X9, X2
	MOVOU	X1, (DI)
	MOVOU	X2, 16(DI)
	WIPE
	RET

// func cpuid(leaf, sub uint32) (eax, ebx, ecx, edx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-24
	MOVL	leaf+0(FP), AX
	MOVL	sub+4(FP), CX
	CPUID
	MOVL	AX, eax+8(FP)
	MOVL	BX, ebx+12(FP)
	MOVL	CX, ecx+16(FP)
	MOVL	DX, edx+20(FP)
	RET
