package typed

import (
	"encoding/json"

	"github.com/ringcore/ringcore"
)

// Codec turns values into bytes and back. Unmarshal must copy what it keeps of data.
type Codec interface {
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

// JSON is the Codec of whatever names none.
type JSON struct{}

// Marshal is json.Marshal.
func (JSON) Marshal(v any) ([]byte, error) { return json.Marshal(v) }

// Unmarshal is json.Unmarshal.
func (JSON) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

func or(c Codec) Codec {
	if c == nil {
		return JSON{}
	}
	return c
}

// Records are a vnode's records as values of one type. The zero value writes JSON.
type Records[T any] struct{ Codec Codec }

// Get reads the value under key; false if there is none or it was deleted.
func (s Records[T]) Get(tx *ringcore.Tx, key []byte) (v T, ok bool, err error) {
	b, ok := tx.Get(key)
	if !ok {
		return v, false, tx.Err()
	}
	v, err = s.Parse(b)
	return v, err == nil, err
}

// Put stores v under key.
func (s Records[T]) Put(tx *ringcore.Tx, key []byte, v T) error {
	b, err := or(s.Codec).Marshal(v)
	if err != nil {
		return err
	}
	tx.Put(key, b)
	return tx.Err()
}

// Parse is a record's value as a T, for coverage queries and merges. What it cannot
// read is corrupt.
func (s Records[T]) Parse(value []byte) (v T, err error) {
	if err := or(s.Codec).Unmarshal(value, &v); err != nil {
		return v, ringcore.Errorf(ringcore.CodeCorrupt, "a stored %T: %v", v, err)
	}
	return v, nil
}
