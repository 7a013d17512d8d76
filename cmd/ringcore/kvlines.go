package main

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// kvLine is a key as kv export writes it and kv import reads it: one line of JSON.
type kvLine struct {
	Bucket   text      `json:"bucket"`
	Key      text      `json:"key"`
	Value    *text     `json:"value,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`
	Siblings []kvValue `json:"siblings,omitempty"` // in the place of a value: all of them, the newest first
}

// kvValue is one of several values of a key.
type kvValue struct {
	Value   text      `json:"value"`
	Expires time.Time `json:"expires,omitzero"`
}

// text is any bytes in JSON: a string, or an object with their base64 if they are no text.
type text []byte

// MarshalJSON implements json.Marshaler.
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.Valid(t) {
		return json.Marshal(string(t))
	}
	return json.Marshal(map[string][]byte{"base64": t})
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		err := json.Unmarshal(b, &s)
		*t = text(s)
		return err
	}
	var o struct {
		Base64 []byte `json:"base64"`
	}
	err := json.Unmarshal(b, &o)
	*t = o.Base64
	return err
}

// lineOf makes a line of a record of the key/value service; false if it has no value any more.
func lineOf(it *wire.Item, now time.Time) (kvLine, bool, error) {
	bucket, key, err := codec.SplitRecordKey(it.Key)
	if err != nil {
		return kvLine{}, false, err
	}
	s := codec.Stored{Stamp: it.Stamp, Value: it.Value}
	o, err := s.Object()
	if err != nil {
		return kvLine{}, false, err
	}
	o.Expire(codec.Expiry(now))
	values := o.Values()
	line := kvLine{Bucket: bucket, Key: key}
	switch len(values) {
	case 0:
		return line, false, nil
	case 1:
		line.Value, line.Expires = (*text)(&values[0].Value), codec.ExpiryTime(values[0].Expires).UTC()
		return line, true, nil
	}
	for _, v := range values {
		line.Siblings = append(line.Siblings, kvValue{v.Value, codec.ExpiryTime(v.Expires).UTC()})
	}
	return line, true, nil
}

// values are all that the line says of its key, the newest first.
func (l *kvLine) values() []kvValue {
	if l.Value != nil {
		return []kvValue{{*l.Value, l.Expires}}
	}
	return l.Siblings
}
