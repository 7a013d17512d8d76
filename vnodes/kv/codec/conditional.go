package codec

// Conditional is an OpPutIf to a key with several replicas: whoever asks reads a
// quorum, looks whether the condition holds, and sends the put to one replica under
// the condition that it holds nothing which the quorum did not show. It is not exact:
// of two at once, at different replicas, both may be done.
type Conditional struct {
	Command Command
	seen    []byte // the encoded Result of all that has answered
}

// Look takes what a quorum, or one more replica, knows of the key.
func (c *Conditional) Look(result []byte) (err error) {
	if c.seen != nil {
		if result, err = Resolve([][]byte{c.seen, result}); err != nil {
			return err
		}
	}
	c.seen = result
	return nil
}

// Try is the command to send, and what there was before it; holds is false if the
// condition does not, so that there is nothing to send.
func (c *Conditional) Try() (cmd Command, old Result, holds bool, err error) {
	if old, err = ParseResult(c.seen); err != nil {
		return Command{}, old, false, err
	}
	whole := old.Whole()
	if !c.Command.Cond.Holds(old.Exists(), c.Command.Context.Covers(&whole)) {
		return Command{}, old, false, nil
	}
	cmd = c.Command
	if values := old.Values(); cmd.Cond&KeepTTL != 0 && len(values) > 0 {
		cmd.Expires = values[0].Expires
	}
	cmd.Cond, cmd.Context = IfUnchanged, old.Context()
	return cmd, old, true, nil
}

// Tried takes the reply to the command. If it was not done, what that replica holds
// counts for the next Try.
func (c *Conditional) Tried(reply []byte) (done bool, err error) {
	out, err := ParseOutcome(reply)
	if err != nil || out.Applied {
		return err == nil, err
	}
	return false, c.Look(reply[1:])
}

// ConditionalTries is how often a Conditional is tried before others, who kept
// writing, have won.
const ConditionalTries = 5
