package codec

import "github.com/ringcore/ringcore/dataplane/wire"

// conditionalTries is how often a conditional put is tried before others, who kept
// writing, have won.
const conditionalTries = 5

// Meets reports whether old is as the condition of c, an OpPutIf, says. If so and the
// old value's expiry is to be kept, c has it from then on.
func (c *Command) Meets(old *Result) bool {
	whole := old.Whole()
	if !c.Cond.Holds(old.Exists(), c.Context.Covers(&whole)) {
		return false
	}
	if values := old.Values(); c.Cond&KeepTTL != 0 && len(values) > 0 {
		c.Expires = values[0].Expires
	}
	return true
}

// PutIf carries out c, an OpPutIf to a key with several replicas, and returns what was
// there before it, and whether it was done. seen is the Result that a quorum has
// answered. If the condition holds for that, send has one replica carry out the put
// under the condition that it holds nothing which the quorum did not show; what it
// shows instead counts for the next try. That is not exact: of two at once, at
// different replicas, both may be done.
func PutIf(c Command, seen []byte, send func(*Command) (reply []byte, err error)) (old Result, done bool, err error) {
	for range conditionalTries {
		if old, err = ParseResult(seen); err != nil {
			return Result{}, false, err
		}
		try := c
		if !try.Meets(&old) {
			return old, false, nil
		}
		try.Cond, try.Context = IfUnchanged, old.Context()
		reply, err := send(&try)
		if err != nil {
			return Result{}, false, err
		}
		out, err := ParseOutcome(reply)
		if err != nil || out.Applied {
			return old, err == nil, err
		}
		if seen, err = Resolve([][]byte{seen, reply[1:]}); err != nil {
			return Result{}, false, err
		}
	}
	return Result{}, false, wire.Errorf(wire.Conflict, "others kept writing the key: try again")
}
