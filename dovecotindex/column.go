package dovecotindex

// A column holds one extension's data of all records. Its bytes exist from the first write
// on that is not zero: what a log merely announces must not cost memory.
type column struct {
	size int // bytes a record
	b    []byte
}

// at returns the bytes of record i, nil where the column is all zero.
func (c *column) at(i int) []byte {
	if c.b == nil {
		return nil
	}
	return c.b[i*c.size : (i+1)*c.size : (i+1)*c.size]
}

// push adds a record of zeros.
func (c *column) push() {
	if c.b != nil {
		c.b = append(c.b, make([]byte, c.size)...)
	}
}

// resize changes the size of each of n records: cut, or filled with zeros.
func (c *column) resize(n, size int) {
	if c.b != nil {
		b := make([]byte, n*size)
		for i := range n {
			copy(b[i*size:(i+1)*size], c.at(i))
		}
		c.b = b
	}
	c.size = size
}

// clear zeroes all records.
func (c *column) clear() { c.b = nil }

// keep drops the records that live does not want.
func (c *column) keep(n int, live func(i int) bool) {
	if c.b == nil {
		return
	}
	k := 0
	for i := range n {
		if live(i) {
			copy(c.b[k*c.size:], c.at(i))
			k++
		}
	}
	c.b = c.b[:k*c.size]
}
