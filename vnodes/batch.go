package vnodes

// batch gathers copies of records and flushes them when they are many.
type batch struct {
	limit  int
	flush  func([]Write) error
	writes []Write
	size   int
	err    error
}

// add has the shape of Store.Ascend's callback; false after an error.
func (b *batch) add(key []byte, r Record) bool {
	k := append([]byte(nil), key...)
	r.Value = append([]byte(nil), r.Value...)
	b.writes = append(b.writes, Write{Key: k, Record: r})
	if b.size += len(key) + len(r.Value) + 64; b.size >= b.limit {
		b.out()
	}
	return b.err == nil
}

func (b *batch) out() {
	if b.err == nil && len(b.writes) > 0 {
		b.err = b.flush(b.writes)
	}
	b.writes, b.size = nil, 0
}

// end flushes the rest and returns the first error.
func (b *batch) end() error {
	b.out()
	return b.err
}
