package mailbox

// A cursor walks a view.
type cursor struct {
	v    *View
	c, i int
}

func (c *cursor) atStart() bool { return c.i == 0 && c.c < len(c.v.chunks) }
func (c *cursor) chunk() []*Message {
	return c.v.chunks[c.c].msgs
}
func (c *cursor) nextChunk() { c.c, c.i = c.c+1, 0 }
func (c *cursor) index() int { return c.v.chunks[c.c].first + c.i }
func (c *cursor) msg() *Message {
	if c.c >= len(c.v.chunks) {
		return nil
	}
	return c.v.chunks[c.c].msgs[c.i]
}
func (c *cursor) next() {
	if c.i++; c.i == len(c.v.chunks[c.c].msgs) {
		c.nextChunk()
	}
}

// A Finder finds messages of a View by UID as View.Find does, at once where each is asked for after
// the one before it. It is not safe for concurrent use.
type Finder struct{ next cursor }

// Finder returns a Finder that begins at the first message.
func (v *View) Finder() *Finder { return &Finder{cursor{v: v}} }

// Find returns the index of the first message with a UID of at least uid, and whether it is
// that very UID. The index is Len() where there is none.
func (f *Finder) Find(uid UID) (int, bool) {
	v := f.next.v
	if m := f.next.msg(); m == nil || m.UID != uid {
		i, ok := v.Find(uid)
		if !ok {
			return i, false
		}
		f.next.c = v.chunkOf(i)
		f.next.i = i - v.chunks[f.next.c].first
	}
	i := f.next.index()
	f.next.next()
	return i, true
}

// Get returns the message with a UID, or nil.
func (f *Finder) Get(uid UID) *Message {
	at := f.next
	if i, ok := f.Find(uid); ok {
		if m := at.msg(); m != nil && m.UID == uid {
			return m
		}
		return f.next.v.At(i)
	}
	return nil
}
