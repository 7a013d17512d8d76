package vnodetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes"
)

// maxRestarts bounds how often a check restarts a node: it takes syncs of the disk.
const maxRestarts = 16

// checkRestart runs the commands on a node that lives on and on one that is
// restarted between them, and compares every reply and every write.
func checkRestart(s *suite) error {
	return s.withNode(0, all, func(living *node, want []outcome) error {
		n, err := s.open(0, s.tempDir())
		if err != nil {
			return err
		}
		return errors.Join(s.compareRestarted(n, living, want), n.close())
	})
}

func (s *suite) compareRestarted(n, living *node, want []outcome) error {
	every := (len(s.in.Commands) + maxRestarts - 1) / maxRestarts
	for i, c := range s.in.Commands {
		n.tick()
		if i%every == 0 {
			if err := n.restart(); err != nil {
				return err
			}
		}
		got, err := n.run(i, c)
		if err != nil {
			return err
		}
		if err := sameOutcome(title("command", i, &c), &got, &want[i]); err != nil {
			return err
		}
	}
	if err := n.restart(); err != nil {
		return err
	}
	for i, q := range s.in.Queries {
		got, err := n.ask(i, q)
		if err != nil {
			return err
		}
		want, err := living.ask(i, q)
		if err != nil {
			return err
		}
		if err := sameOutcome(title("query", i, &q), &got, &want); err != nil {
			return err
		}
	}
	return nil
}

// sameOutcome explains how what a restarted vnode did differs from what it should have done.
func sameOutcome(what string, got, want *outcome) error {
	switch {
	case got.equal(want):
		return nil
	case got.code != want.code || !bytes.Equal(got.body, want.body):
		return fmt.Errorf("%s: the answer is %s after a restart, %s without one: what counts must be in the records", what, got, want)
	}
	return fmt.Errorf("%s: it writes %s after a restart, %s without one: what counts must be in the records", what, describe(got.effect), describe(want.effect))
}

// checkQuery asks every query twice, then all of them at once while commands run.
func checkQuery(s *suite) error {
	return s.withNode(0, all, func(n *node, _ []outcome) error {
		first := make([]outcome, len(s.in.Queries))
		for round := range 2 {
			for i, q := range s.in.Queries {
				o, err := n.ask(i, q)
				switch {
				case err != nil:
					return err
				case round == 0:
					first[i] = o
				case !o.equal(&first[i]):
					return fmt.Errorf("%s: the answer is %s, then %s: a query must not change anything", title("query", i, &q), &first[i], &o)
				}
			}
		}
		return s.askBesideCommands(n)
	})
}

// askBesideCommands leaves it to the race detector, and to panics, to find what is wrong.
func (s *suite) askBesideCommands(n *node) error {
	const askers = 4
	errs := make([]error, askers)
	var wg sync.WaitGroup
	for a := range askers {
		wg.Go(func() {
			for i, q := range s.in.Queries {
				if _, err := n.ask(i, q); err != nil {
					errs[a] = err
				}
			}
			for i, body := range s.in.Covers {
				if _, err := n.cover(i, body); err != nil {
					errs[a] = err
				}
			}
		})
	}
	var err error
	for i, c := range s.in.Commands {
		n.tick()
		if _, err = n.run(len(s.in.Commands)+i, c); err != nil {
			break
		}
	}
	wg.Wait()
	return errors.Join(err, errors.Join(errs...))
}

// checkBlind runs each blind command on an empty vnode too.
func checkBlind(s *suite) error {
	return s.withNode(0, all, func(_ *node, full []outcome) error {
		for i, c := range s.in.Commands {
			n, err := s.open(0, "")
			if err != nil {
				return err
			}
			if n.info.Blind(c.Body) {
				err = s.compareBlind(n, i, &full[i])
			}
			if err := errors.Join(err, n.close()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *suite) compareBlind(n *node, i int, full *outcome) error {
	alone, err := n.runAll(s.in.Commands, func(j int) bool { return j == i })
	if err != nil {
		return err
	}
	if !alone[i].equal(full) {
		if _, merges := s.service.New(0).(vnodes.Merger); merges && alone[i].code == full.code && bytes.Equal(alone[i].body, full.body) {
			return nil // what it writes may build on its own copy: Merge brings it together with others
		}
		return fmt.Errorf("%s says that it is blind, but does other things on an empty vnode: it answers %s and writes %s, else %s and %s",
			title("command", i, &s.in.Commands[i]), &alone[i], describe(alone[i].effect), full, describe(full.effect))
	}
	return nil
}

// checkMalformed sends every body of the inputs in many broken forms.
func checkMalformed(s *suite) error {
	return s.withNode(0, all, func(n *node, _ []outcome) error {
		id := len(s.in.Commands)
		for i, c := range s.in.Commands {
			for _, c.Body = range malformed(c.Body) {
				id++
				if _, err := n.run(id, c); err != nil {
					return fmt.Errorf("a broken form of command %d: %w", i, err)
				}
			}
		}
		for i, q := range s.in.Queries {
			for _, q.Body = range malformed(q.Body) {
				if _, err := n.ask(i, q); err != nil {
					return err
				}
			}
		}
		for i, body := range s.in.Covers {
			for _, body := range malformed(body) {
				_, err := n.cover(i, body)
				if e, ok := errors.AsType[*wire.Error](err); ok && e.Code == wire.Internal {
					return err
				}
			}
		}
		return nil
	})
}

// malformed lists broken forms of body: cut short, longer, with a byte changed, and rubbish.
func malformed(body []byte) [][]byte {
	const most = 64
	forms := [][]byte{append(bytes.Clone(body), 0), bytes.Repeat([]byte{0xff}, 1024), bytes.Repeat([]byte{0}, 1024)}
	for i := range min(len(body), most) {
		flipped := bytes.Clone(body)
		flipped[i] ^= 0xff
		forms = append(forms, body[:i], flipped)
	}
	return slices.Concat(forms, [][]byte{nil})
}
