package codec

import "github.com/ringcore/ringcore/dataplane/wire"

// Service is the name under which the key/value service is registered.
const Service = "kv"

// DefaultBucket is the bucket of those who name none: RESP and ping.
const DefaultBucket = "default"

// Limits, in bytes. None of the three may be empty, except the value.
const (
	MaxBucket = 1 << 10
	MaxKey    = 64 << 10
	MaxValue  = 8 << 20
)

// CheckBucket reports a bucket that is empty (BadRequest) or too long (TooLarge).
func CheckBucket(bucket string) error {
	switch n := len(bucket); {
	case n == 0:
		return wire.Errorf(wire.BadRequest, "the bucket is empty")
	case n > MaxBucket:
		return wire.Errorf(wire.TooLarge, "the bucket has %d bytes, at most %d are allowed", n, MaxBucket)
	}
	return nil
}

// CheckKey reports a bucket or key that is empty (BadRequest) or too long (TooLarge).
func CheckKey(bucket string, key []byte) error {
	if err := CheckBucket(bucket); err != nil {
		return err
	}
	switch n := len(key); {
	case n == 0:
		return wire.Errorf(wire.BadRequest, "the key is empty")
	case n > MaxKey:
		return wire.Errorf(wire.TooLarge, "the key has %d bytes, at most %d are allowed", n, MaxKey)
	}
	return nil
}

// CheckValue reports a value that is too long (TooLarge).
func CheckValue(value []byte) error {
	if n := len(value); n > MaxValue {
		return wire.Errorf(wire.TooLarge, "the value has %d bytes, at most %d are allowed", n, MaxValue)
	}
	return nil
}
