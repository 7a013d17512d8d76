package vnodetest

import (
	"bytes"
	"fmt"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes"
)

// checkResolve resolves the replies of replicas that have seen different commands.
func checkResolve(s *suite) error {
	r, ok := s.service.New(0).(vnodes.Resolver)
	if !ok {
		return nil
	}
	replies := make([][][]byte, len(s.in.Queries)) // by query
	for number := range nodeNumber(replicas) {
		err := s.withNode(number, number.runs, func(n *node, _ []outcome) error {
			for i, q := range s.in.Queries {
				o, err := n.ask(i, q)
				if err != nil {
					return err
				}
				if o.code == wire.OK {
					replies[i] = append(replies[i], o.body)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for i, q := range s.in.Queries {
		if len(replies[i]) == replicas {
			if err := checkResolution(r, q.Body, replies[i][0], replies[i][1], replies[i][2]); err != nil {
				return fmt.Errorf("%s: %w", title("query", i, &q), err)
			}
		}
	}
	return nil
}

// checkResolution checks that neither order nor repetition of the replies counts.
func checkResolution(r vnodes.Resolver, q, a, b, c []byte) error {
	resolve := func(replies ...[]byte) ([]byte, error) {
		reply, err := r.Resolve(bytes.Clone(q), clones(replies))
		return bytes.Clone(reply), err
	}
	want, err := resolve(a, b, c)
	if err != nil {
		return fmt.Errorf("resolve: %w", err)
	}
	for _, other := range [][][]byte{{c, b, a}, {b, c, a}, {a, a, b, c}, {want}, {want, want}, {want, a}, {c, want}} {
		got, err := resolve(other...)
		if err != nil {
			return fmt.Errorf("resolve: %w", err)
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("the replies %q, %q, %q resolve to %q, but %q to %q: order and repetition must not count",
				brief(a), brief(b), brief(c), brief(want), other, brief(got))
		}
	}
	return nil
}

func clones(all [][]byte) [][]byte {
	copies := make([][]byte, len(all))
	for i := range all {
		copies[i] = bytes.Clone(all[i])
	}
	return copies
}
