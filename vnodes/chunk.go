package vnodes

// A chunk is full with this many records or bytes, whichever comes first; one
// record is always taken.
const (
	chunkRecords = 256
	chunkBytes   = 256 << 10
)

// chunk is a copy of consecutive records, made under a lock or in a transaction
// and handed out after it.
type chunk struct {
	buf   []byte // what the items' slices point to
	items []Write
	last  []byte // key of the last record taken, also if it was left out again
	more  bool   // the chunk was full before the records ended
}

func (c *chunk) reset() {
	clear(c.items)
	c.buf, c.items, c.last, c.more = c.buf[:0], c.items[:0], nil, false
}

// add copies r, the record under key, into c. It returns false, and takes
// nothing, if c is full.
func (c *chunk) add(key []byte, r *Record) bool {
	if len(c.items) == chunkRecords || len(c.buf) >= chunkBytes {
		c.more = true
		return false
	}
	r.Value = c.copy(r.Value)
	c.last = c.copy(key)
	c.items = append(c.items, Write{Key: c.last, Record: *r})
	return true
}

// copy is b in c's memory; slices made earlier stay valid when buf moves.
func (c *chunk) copy(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	start := len(c.buf)
	c.buf = append(c.buf, b...)
	return c.buf[start:len(c.buf):len(c.buf)]
}

// ascend is Store.Ascend on top of fill, which puts the records from a key on
// into an empty chunk until it is full. fn runs between the calls of fill.
func ascend(from []byte, fill func(c *chunk, from []byte) error, fn func(key []byte, r Record) bool) error {
	var c chunk
	var next []byte
	for {
		c.reset()
		if err := fill(&c, from); err != nil {
			return err
		}
		// Written down first: fn may do with the slices what it likes.
		next = append(append(next[:0], c.last...), 0)
		for i := range c.items {
			if !fn(c.items[i].Key, c.items[i].Record) {
				return nil
			}
		}
		if !c.more {
			return nil
		}
		from = next
	}
}
