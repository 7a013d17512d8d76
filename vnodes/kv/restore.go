package kv

import (
	"github.com/ringcore/ringcore/vnodes"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// Place implements vnodes.Placer.
func (v vnode) Place(record []byte) (bucket string, key []byte) {
	b, key, err := codec.SplitRecordKey(record)
	if err != nil {
		return "", record // it is nobody's, and lies nowhere
	}
	return string(b), key
}

// Restored implements vnodes.Restorer. The value of a last write that wins takes the new
// stamp. Where concurrent values are kept it keeps its own, so that a context from before
// the backup still covers it.
func (v vnode) Restored(record []byte, r vnodes.Record) []byte {
	bucket, _ := v.Place(record)
	s := stored(&r)
	if s.IsObject() || !v.siblings(bucket) {
		return r.Value
	}
	o, err := s.Object()
	if err != nil {
		return r.Value
	}
	return codec.AppendObject(nil, &o)
}
