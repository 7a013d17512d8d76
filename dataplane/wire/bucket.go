package wire

import "encoding/json"

// Switch is a yes or no that may be left to the default. In JSON it is true, false
// or "default".
type Switch uint8

// The positions of a Switch.
const (
	SwitchDefault Switch = 0
	SwitchOn      Switch = 1
	SwitchOff     Switch = 2
)

// SwitchOf is the Switch that says on.
func SwitchOf(on bool) Switch {
	if on {
		return SwitchOn
	}
	return SwitchOff
}

// MarshalJSON writes s as true, false or "default".
func (s Switch) MarshalJSON() ([]byte, error) {
	switch s {
	case SwitchOn:
		return []byte("true"), nil
	case SwitchOff:
		return []byte("false"), nil
	}
	return []byte(`"default"`), nil
}

// UnmarshalJSON reads true, false or "default".
func (s *Switch) UnmarshalJSON(b []byte) error {
	var on bool
	switch {
	case string(b) == `"default"`:
		*s = SwitchDefault
	case json.Unmarshal(b, &on) == nil:
		*s = SwitchOf(on)
	default:
		return Errorf(BadRequest, "%s is neither true, false nor \"default\"", b)
	}
	return nil
}

// BucketProps are the properties of a bucket: what a request to it goes by when it
// does not say otherwise. The zero value leaves everything to the service.
type BucketProps struct {
	R        Quorum `json:"r"`
	W        Quorum `json:"w"`
	PR       Quorum `json:"pr"`
	PW       Quorum `json:"pw"`
	Sloppy   Switch `json:"sloppy"`   // fallbacks count
	Siblings bool   `json:"siblings"` // for services that can: concurrent values are kept, instead of the newest only
}

// BucketChange is what is to change of a bucket's properties; nil leaves one as it is.
type BucketChange struct {
	R        *Quorum `json:"r,omitempty"`
	W        *Quorum `json:"w,omitempty"`
	PR       *Quorum `json:"pr,omitempty"`
	PW       *Quorum `json:"pw,omitempty"`
	Sloppy   *Switch `json:"sloppy,omitempty"`
	Siblings *bool   `json:"siblings,omitempty"`
}

// With is p after c.
func (p BucketProps) With(c *BucketChange) BucketProps {
	set(&p.R, c.R)
	set(&p.W, c.W)
	set(&p.PR, c.PR)
	set(&p.PW, c.PW)
	set(&p.Sloppy, c.Sloppy)
	set(&p.Siblings, c.Siblings)
	return p
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// Fill puts p in the place of what c leaves to the default. query tells whether c
// is a query: R and PR count then, else W and PW.
func (p *BucketProps) Fill(c *Call, query bool) {
	quorum, primary := p.W, p.PW
	if query {
		quorum, primary = p.R, p.PR
	}
	if c.Quorum == QuorumDefault {
		c.Quorum = quorum
	}
	if c.Primary == QuorumDefault {
		c.Primary = primary
	}
	if c.Flags&(CallSloppy|CallStrict) == 0 {
		switch p.Sloppy {
		case SwitchOn:
			c.Flags |= CallSloppy
		case SwitchOff:
			c.Flags |= CallStrict
		}
	}
}
