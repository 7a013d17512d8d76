package metadata

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Outlook is what would become of a cluster if its plan was committed now.
type Outlook struct {
	Hash      string // for CommitPlan; empty if nothing is staged
	Changes   []Change
	Members   []MemberOutlook // sorted by id; without those that have left before
	Transfers []TransferOutlook
	Warnings  []string
	Losses    []string // those of Warnings that tell of data that is lost for good
}

// MemberOutlook is a member now, and when all transfers are done.
type MemberOutlook struct {
	Member
	StatusThen MemberStatus
	ZoneThen   string
	WeightThen int
	Now, Then  ring.Share
	ShareNow   float64 // of all places, 0 to 1
	ShareThen  float64
}

// TransferOutlook are the steps of one kind between two nodes.
type TransferOutlook struct {
	ring.Transfer
	Size *Size // nil: not known
}

// Size is how much a transfer brings.
type Size struct {
	Records int64 `json:"records"`
	Bytes   int64 `json:"bytes"`
}

// Facts are what an Outlook takes into account beside the State; all are optional.
type Facts struct {
	Up       func(ring.NodeID) bool       // whether a node can be reached
	Size     func(ring.Step) (Size, bool) // what a step brings; false: not known
	Services map[string]int               // the replicas of each service; 0: as many as the cluster keeps
	Lacks    func(Copy) bool              // whether a copy that the ring counts on is known not to be whole
}

// Foresee computes the Outlook of s. It is Refused, with the reason, if the plan does
// not fit the State any more. Foresee is pure: its only knowledge of the world is f.
func Foresee(s *State, f Facts) (*Outlook, error) {
	next, lists, err := s.after()
	if err != nil {
		return nil, err
	}
	o := &Outlook{Hash: s.PlanHash(), Changes: s.Plan}
	o.foreseeMembers(s, next, lists)
	steps := stepsTo(next.Ring, lists)
	o.Transfers = transfersOf(steps, f.Size)
	lost, scarce := Losses(s, s.Plan, f)
	o.Losses = lost
	o.Warnings = slices.Concat(lost, scarce, warnings(next, lists, steps, f))
	return o, nil
}

// after is the State right after the commit of its plan, and the lists that it is to reach.
func (s *State) after() (next *State, lists [][]ring.NodeID, err error) {
	n := *s
	n.Epoch++
	n.Plan = nil
	if err := n.applyAll(s.Plan); err != nil {
		if e, ok := errors.AsType[*wire.Error](err); ok {
			err = wire.Errorf(e.Code, "the plan does not fit any more: %s; clear it, and stage what is still wanted", e.Message)
		}
		return nil, nil, err
	}
	switch {
	case n.Planned != n.Roster:
		lists = plan(&n)
	case n.Target != nil:
		lists = n.Target
	default:
		lists = n.Ring.Lists()
	}
	return &n, lists, nil
}

func (o *Outlook) foreseeMembers(s, next *State, lists [][]ring.NodeID) {
	now, then := ring.Shares(s.Ring), ring.SharesOf(lists)
	total := func(shares map[ring.NodeID]ring.Share) float64 {
		n := 0
		for _, x := range shares {
			n += x.Slots
		}
		return float64(max(n, 1))
	}
	allNow, allThen := total(now), total(then)
	for _, m := range s.Members {
		if m.Gone() {
			continue
		}
		later, _ := next.Member(m.ID)
		x := MemberOutlook{
			Member: m, StatusThen: later.Status, ZoneThen: later.Zone, WeightThen: later.Weight, Now: now[m.ID], Then: then[m.ID],
			ShareNow: float64(now[m.ID].Slots) / allNow, ShareThen: float64(then[m.ID].Slots) / allThen,
		}
		switch {
		case later.Status == StatusJoining && !later.Staged:
			x.StatusThen = StatusValid
		case later.Status == StatusLeaving || later.Status == StatusExiting:
			x.StatusThen = StatusLeft
		}
		o.Members = append(o.Members, x)
	}
}

// stepsTo are all steps from r to lists.
func stepsTo(r *ring.Ring, lists [][]ring.NodeID) []ring.Step {
	var steps []ring.Step
	for p := range r.Assignments {
		steps = append(steps, ring.StepsTo(ring.Partition(p), r.Assignments[p].Replicas, lists[p])...)
	}
	return steps
}

// transfersOf counts steps by kind and nodes, sorted, and adds up their sizes; one
// that is not known makes the sum so.
func transfersOf(steps []ring.Step, size func(ring.Step) (Size, bool)) []TransferOutlook {
	sums := make(map[ring.Transfer]*TransferOutlook)
	all := []*TransferOutlook{}
	for _, step := range steps {
		key := ring.Transfer{Kind: step.Kind, From: step.From, To: step.To}
		t := sums[key]
		if t == nil {
			t = &TransferOutlook{Transfer: key, Size: new(Size)}
			sums[key] = t
			all = append(all, t)
		}
		t.Partitions++
		n, known := Size{}, false
		if size != nil {
			n, known = size(step)
		}
		if !known {
			t.Size = nil
		} else if t.Size != nil {
			t.Size.Records += n.Records
			t.Size.Bytes += n.Bytes
		}
	}
	list := make([]TransferOutlook, len(all))
	for i, t := range all {
		list[i] = *t
	}
	slices.SortFunc(list, func(a, b TransferOutlook) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Kind, b.Kind))
	})
	return list
}

// warnings say what an operator should think about before the commit.
func warnings(next *State, lists [][]ring.NodeID, steps []ring.Step, f Facts) []string {
	zones := make(map[ring.NodeID]string)
	for _, m := range next.Members {
		zones[m.ID] = m.Zone
	}
	all := ring.Warnings(lists, next.Wanted(), func(id ring.NodeID) string { return zones[id] })
	if f.Up == nil {
		return all
	}
	for _, m := range next.Members {
		if m.Gone() || f.Up(m.ID) {
			continue
		}
		waiting := 0
		for _, step := range steps {
			if slices.Contains(needs(next, step), m.ID) {
				waiting++
			}
		}
		switch {
		case m.Status == StatusLeaving:
			all = append(all, fmt.Sprintf("%s is to leave and cannot be reached: it goes when it is back and has handed over; if it is lost, force-remove or force-replace it", m.Name))
		case waiting > 0:
			all = append(all, fmt.Sprintf("%s cannot be reached: %d transfers wait for it, the others go on", m.Name, waiting))
		default:
			all = append(all, fmt.Sprintf("%s cannot be reached; nothing waits for it", m.Name))
		}
	}
	return all
}
