package compress

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// xzMaxDict is the largest dictionary accepted. Dovecot gives liblzma 80 MiB
// (istream-lzma.c), which is enough for all of xz's presets: -9 needs 64 MiB.
const xzMaxDict = 64 << 20

// An xzReader reads the .xz container around LZMA2 data: one or more streams with
// padding between them. The container is parsed here, and only the LZMA2 data by a
// library, because the library would allocate whatever dictionary, up to 4 GiB, a
// block header asks for.
//
//	stream = header *(block) index footer    ; The .xz File Format 1.1.0, section 2
//	block  = block-header lzma2 pad4 check
type xzReader struct {
	r       *bufio.Reader
	n       int64 // bytes taken from r
	streams int
	checked bool // every stream so far has a check

	flags   [2]byte
	check   hash.Hash // nil: the stream has none
	data    io.Reader // LZMA2 of the current block; nil between blocks
	begin   int64     // n where the current block's header began
	dataAt  int64     // n where its data began
	out     int64     // bytes out of it
	head    xzBlockHeader
	blocks  uint64
	records hash.Hash // over the sizes of all blocks, compared with the index
}

// An xzBlockHeader has -1 for sizes that the header leaves out.
type xzBlockHeader struct {
	packed, unpacked int64
	dict             int
}

func xzCorrupt(what string) error { return fmt.Errorf("xz: %s: %w", what, ErrCorrupt) }

func (x *xzReader) Read(p []byte) (int, error) {
	for {
		if x.data == nil {
			if err := x.next(); err != nil {
				return 0, err
			}
		}
		n, err := x.data.Read(p)
		x.out += int64(n)
		if x.check != nil {
			x.check.Write(p[:n])
		}
		if err == io.EOF {
			x.data = nil
			err = x.endBlock()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next goes to the next block, over the ends and headers of streams.
func (x *xzReader) next() error {
	for {
		if x.records == nil {
			if err := x.streamHeader(); err != nil {
				return err
			}
		}
		size, err := x.r.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		x.begin = x.n
		x.n++
		if size != 0 {
			return x.blockHeader(size)
		}
		if err := x.index(); err != nil {
			return err
		}
		x.records = nil
	}
}

// streamHeader returns io.EOF where the last stream has ended.
func (x *xzReader) streamHeader() error {
	h := make([]byte, 12)
	for {
		if _, err := io.ReadFull(x.r, h[:4]); err != nil {
			if err == io.EOF && x.streams == 0 {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		if x.streams == 0 || string(h[:4]) != "\x00\x00\x00\x00" {
			break // stream padding comes in fours
		}
	}
	if _, err := io.ReadFull(x.r, h[4:]); err != nil {
		return unexpected(err)
	}
	if string(h[:6]) != "\xfd7zXZ\x00" {
		return xzCorrupt("stream magic")
	}
	if crc32.ChecksumIEEE(h[6:8]) != binary.LittleEndian.Uint32(h[8:]) || h[6] != 0 {
		return xzCorrupt("stream flags")
	}
	switch h[7] {
	case 0:
		x.check = nil
	case 1:
		x.check = crc32.NewIEEE()
	case 4:
		x.check = crc64.New(crc64.MakeTable(crc64.ECMA))
	case 10:
		x.check = sha256.New()
	default:
		return xzCorrupt("unknown check")
	}
	copy(x.flags[:], h[6:8])
	x.checked = (x.streams == 0 || x.checked) && x.check != nil
	x.streams++
	x.n, x.blocks, x.records = 12, 0, sha256.New()
	return nil
}

func (x *xzReader) blockHeader(size byte) error {
	h := make([]byte, 4*(int(size)+1))
	h[0] = size
	if _, err := io.ReadFull(x.r, h[1:]); err != nil {
		return unexpected(err)
	}
	x.n += int64(len(h) - 1)
	body := h[:len(h)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(h[len(body):]) {
		return xzCorrupt("block header checksum")
	}
	var err error
	if x.head, err = parseXZBlockHeader(body[1:]); err != nil {
		return err
	}
	x.dataAt, x.out = x.n, 0 // before the decoder is made: it reads on at once
	z, err := lzma.Reader2Config{DictCap: max(x.head.dict, lzma.MinDictCap)}.NewReader2(xzCounter{x})
	if err != nil {
		return err
	}
	x.data = z
	if x.check != nil {
		x.check.Reset()
	}
	return nil
}

// parseXZBlockHeader reads what stands between the size and the checksum.
func parseXZBlockHeader(b []byte) (xzBlockHeader, error) {
	h := xzBlockHeader{packed: -1, unpacked: -1}
	flags := b[0]
	r := bytes.NewReader(b[1:])
	if flags&0x3f != 0 {
		return h, xzCorrupt("filters other than LZMA2 alone")
	}
	for _, f := range []struct {
		bit byte
		to  *int64
	}{{0x40, &h.packed}, {0x80, &h.unpacked}} {
		if flags&f.bit == 0 {
			continue
		}
		v, _, err := xzInt(r)
		if err != nil {
			return h, xzCorrupt("block header size field")
		}
		*f.to = int64(v)
	}
	var filter [3]byte // ID, size of properties, dictionary size
	if _, err := io.ReadFull(r, filter[:]); err != nil || filter[0] != 0x21 || filter[1] != 1 {
		return h, xzCorrupt("filters other than LZMA2 alone")
	}
	dict, err := lzma.DecodeDictCap(filter[2])
	if err != nil {
		return h, xzCorrupt("dictionary size")
	}
	if dict > xzMaxDict {
		return h, fmt.Errorf("xz: dictionary of %d bytes: %w", dict, ErrTooLarge)
	}
	h.dict = int(dict)
	for r.Len() > 0 {
		if c, _ := r.ReadByte(); c != 0 {
			return h, xzCorrupt("block header padding")
		}
	}
	return h, nil
}

// endBlock reads padding and check after a block's data.
func (x *xzReader) endBlock() error {
	packed := x.n - x.dataAt
	if x.head.packed >= 0 && x.head.packed != packed || x.head.unpacked >= 0 && x.head.unpacked != x.out {
		return xzCorrupt("block size")
	}
	if err := x.padding(packed); err != nil {
		return err
	}
	unpadded := x.dataAt - x.begin + packed
	if x.check != nil {
		got := make([]byte, x.check.Size())
		if _, err := io.ReadFull(x.r, got); err != nil {
			return unexpected(err)
		}
		x.n += int64(len(got))
		want := x.check.Sum(nil)
		if len(want) <= 8 {
			reverse(want) // the CRCs are little-endian
		}
		if !bytes.Equal(got, want) {
			return xzCorrupt("checksum")
		}
		unpadded += int64(len(got))
	}
	x.blocks++
	x.record(uint64(unpadded), uint64(x.out))
	return nil
}

// record adds one block to what the index must say.
func (x *xzReader) record(unpadded, unpacked uint64) {
	x.records.Write(recordBytes(unpadded, unpacked))
}

func recordBytes(unpadded, unpacked uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, unpadded), unpacked)
}

// padding reads the zero bytes that fill n up to a multiple of four.
func (x *xzReader) padding(n int64) error {
	for ; n%4 != 0; n++ {
		c, err := x.r.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		x.n++
		if c != 0 {
			return xzCorrupt("padding")
		}
	}
	return nil
}

// index reads the index after its indicator byte, and the footer. The index is never
// kept: only a hash over its records is compared.
func (x *xzReader) index() error {
	sum := crc32.NewIEEE()
	sum.Write([]byte{0})
	r := &byteTee{x.r, sum}
	size := int64(1)
	number := func() (uint64, error) {
		v, n, err := xzInt(r)
		size += int64(n)
		return v, err
	}
	count, err := number()
	if err != nil {
		return err
	}
	if count != x.blocks {
		return xzCorrupt("index: number of blocks")
	}
	records := sha256.New()
	for range count {
		unpadded, err := number()
		if err != nil {
			return err
		}
		unpacked, err := number()
		if err != nil {
			return err
		}
		records.Write(recordBytes(unpadded, unpacked))
	}
	if !bytes.Equal(records.Sum(nil), x.records.Sum(nil)) {
		return xzCorrupt("index: block sizes")
	}
	for ; size%4 != 0; size++ {
		c, err := r.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		if c != 0 {
			return xzCorrupt("index padding")
		}
	}
	return x.footer(sum.Sum32(), size+4)
}

// footer reads the index's checksum and the stream footer.
func (x *xzReader) footer(indexSum uint32, indexSize int64) error {
	var f [4 + 12]byte
	if _, err := io.ReadFull(x.r, f[:]); err != nil {
		return unexpected(err)
	}
	le := binary.LittleEndian
	switch {
	case le.Uint32(f[:]) != indexSum:
		return xzCorrupt("index checksum")
	case le.Uint32(f[4:]) != crc32.ChecksumIEEE(f[8:14]), string(f[14:]) != "YZ":
		return xzCorrupt("footer")
	case (int64(le.Uint32(f[8:]))+1)*4 != indexSize:
		return xzCorrupt("footer: index size")
	case !bytes.Equal(f[12:14], x.flags[:]):
		return xzCorrupt("footer: flags")
	}
	return nil
}

// xzInt reads a variable-length integer of up to 63 bits and returns how many bytes
// it took.
func xzInt(r io.ByteReader) (v uint64, n int, err error) {
	for n < 9 {
		c, err := r.ReadByte()
		if err != nil {
			return 0, n, unexpected(err)
		}
		v |= uint64(c&0x7f) << (7 * n)
		n++
		if c&0x80 == 0 {
			if c == 0 && n > 1 {
				break // not the shortest form
			}
			return v, n, nil
		}
	}
	return 0, n, xzCorrupt("integer")
}

func reverse(b []byte) {
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
}

// xzCounter hands the current position on to the LZMA2 decoder and counts.
type xzCounter struct{ x *xzReader }

func (c xzCounter) Read(p []byte) (int, error) {
	n, err := c.x.r.Read(p)
	c.x.n += int64(n)
	return n, err
}

// A byteTee feeds what it reads to a hash.
type byteTee struct {
	r io.ByteReader
	h hash.Hash
}

func (t *byteTee) ReadByte() (byte, error) {
	c, err := t.r.ReadByte()
	if err == nil {
		t.h.Write([]byte{c})
	}
	return c, err
}
