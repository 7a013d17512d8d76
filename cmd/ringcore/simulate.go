package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/metadata/ring"
)

// maxSimulated bounds the nodes of a simulated cluster.
const maxSimulated = 1000

// simFlags are the flags of ring simulate.
type simFlags struct {
	nodes, partitions     int
	zones                 []string
	weights               []int
	ringFile, membersFile string
	changes               []simChange // in the order of the command line
	together              bool
}

// simChange is one change that is asked for, as on the command line.
type simChange struct{ kind, arg string }

func (c *simChange) String() string { return c.kind + " " + c.arg }

// changeFlag collects the changes of one kind among those of all kinds.
type changeFlag struct {
	kind string
	all  *[]simChange
}

func (f changeFlag) String() string { return "" }
func (f changeFlag) Type() string   { return "change" }

func (f changeFlag) Set(arg string) error {
	*f.all = append(*f.all, simChange{f.kind, arg})
	return nil
}

// simResult is the JSON of ring simulate.
type simResult struct {
	Partitions int        `json:"partitions"`
	Steps      []*simStep `json:"steps"`
}

func (a *app) ringSimulate() *cobra.Command {
	f := &simFlags{}
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Show what changes would do, without a cluster",
		Long: "Show what changes would do, without a cluster: who would hold how much, what would move, and whether replicas\n" +
			"would be on distinct nodes and zones.\n\n" +
			"The cluster is one of --nodes, called n1, n2 ..., that have joined one after another; or a real one, saved\n" +
			"with \"ringcore ring status -o json\" and \"ringcore cluster members -o json\". Changes are made in the order in\n" +
			"which they are given, each when the one before is done, or with --together all in one commit. Without any, it\n" +
			"shows what is left to be done for the members as they are.",
		Example: "  ringcore ring simulate --nodes 5 --zones a,a,b,b,c --weights 1,1,2,1,1 --join 1 --leave n3\n" +
			"  ringcore ring simulate --ring ring.json --members members.json --replace n2:n6 --replicas 5",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.simulate(f) },
	}
	fl := cmd.Flags()
	fl.IntVar(&f.nodes, "nodes", 3, "how many nodes")
	fl.StringSliceVar(&f.zones, "zones", nil, "their zones, one each")
	fl.IntSliceVar(&f.weights, "weights", nil, "their weights, one each")
	fl.IntVar(&f.partitions, "partitions", ring.DefaultPartitions, "how many partitions")
	fl.StringVar(&f.ringFile, "ring", "", "file with the answer to GET /v1/ring, in place of --nodes and what belongs to it")
	fl.StringVar(&f.membersFile, "members", "", "file with the answer to GET /v1/members, for --ring: ids, zones and weights")
	for _, c := range []struct{ kind, usage string }{
		{"join", "N nodes join, or one: NAME[:ZONE[:WEIGHT]]"},
		{"leave", "NAME leaves"},
		{"replace", "OLD:NEW, the new one takes the old one's places"},
		{"set-weight", "NAME=WEIGHT"},
		{"set-zone", "NAME=ZONE"},
		{"replicas", "N replicas of each partition; before all changes it is how many there are at first (3)"},
	} {
		fl.Var(changeFlag{c.kind, &f.changes}, c.kind, c.usage)
	}
	fl.BoolVar(&f.together, "together", false, "all changes in one commit")
	return cmd
}

func (a *app) simulate(f *simFlags) error {
	sim, err := f.cluster()
	if err != nil {
		return err
	}
	commits := [][]simChange{f.changes}
	if !f.together && len(f.changes) > 0 {
		commits = commits[:0]
		for i := range f.changes {
			commits = append(commits, f.changes[i:i+1])
		}
	}
	result := simResult{Partitions: len(sim.lists)}
	for _, changes := range commits {
		step, err := sim.commit(changes)
		if err != nil {
			return &failure{code: exitUsage, err: err}
		}
		result.Steps = append(result.Steps, step)
	}
	if a.json() {
		return a.printJSON(result)
	}
	for i, step := range result.Steps {
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		if err := a.printStep(step, result.Partitions); err != nil {
			return err
		}
	}
	return nil
}

// cluster is where the simulation begins. What --replicas says of it is no change.
func (f *simFlags) cluster() (*simulation, error) {
	if f.ringFile != "" {
		return f.saved()
	}
	replicas := ring.DefaultReplicas
	if len(f.changes) > 0 && f.changes[0].kind == "replicas" {
		n, err := strconv.Atoi(f.changes[0].arg)
		if err != nil {
			return nil, usagef("", "replicas is %q, and no number", f.changes[0].arg)
		}
		replicas, f.changes = n, f.changes[1:]
	}
	switch {
	case f.membersFile != "":
		return nil, usagef("pass the ring too, with --ring", "--members belongs to a saved ring")
	case f.nodes < 1 || f.nodes > maxSimulated:
		return nil, usagef("", "%d nodes: there can be 1 to %d", f.nodes, maxSimulated)
	case !ring.ValidPartitions(f.partitions):
		return nil, usagef("", "%d partitions: it takes a power of two from %d to %d", f.partitions, ring.MinPartitions, ring.MaxPartitions)
	case replicas < 1 || replicas > ring.MaxReplicas:
		return nil, usagef("", "%d replicas: there can be 1 to %d", replicas, ring.MaxReplicas)
	case len(f.zones) > 0 && len(f.zones) != f.nodes:
		return nil, usagef("pass one for each node, such as --zones a,a,b", "%d zones for %d nodes", len(f.zones), f.nodes)
	case len(f.weights) > 0 && len(f.weights) != f.nodes:
		return nil, usagef("pass one for each node, such as --weights 1,1,2", "%d weights for %d nodes", len(f.weights), f.nodes)
	}
	members := make([]ring.Claimant, f.nodes)
	for i := range members {
		members[i] = ring.Claimant{Node: ring.NodeID(fmt.Sprintf("n%d", i+1)), Weight: 1}
		if len(f.zones) > 0 {
			members[i].Zone = f.zones[i]
		}
		if len(f.weights) > 0 {
			if f.weights[i] < 1 || f.weights[i] > ring.MaxWeight {
				return nil, usagef("", "weight %d of n%d: it can be 1 to %d", f.weights[i], i+1, ring.MaxWeight)
			}
			members[i].Weight = f.weights[i]
		}
	}
	return newSimulation(members, f.partitions, replicas), nil
}

// saved is a cluster of files. With ids, what is computed is what the cluster itself would
// compute; who is on the way out claims nothing.
func (f *simFlags) saved() (*simulation, error) {
	var view admin.RingView
	if err := readJSONFile(f.ringFile, &view); err != nil {
		return nil, err
	}
	s := &simulation{names: make(map[ring.NodeID]string), replicas: view.Replicas}
	ids := make(map[string]ring.NodeID)
	if f.membersFile != "" {
		var members []admin.MemberView
		if err := readJSONFile(f.membersFile, &members); err != nil {
			return nil, err
		}
		for _, m := range members {
			id := ring.NodeID(m.ID)
			ids[m.Name], s.names[id] = id, m.Name
			c := ring.Claimant{Node: id, Weight: m.Weight, Zone: m.Zone}
			if m.Status == "joining" || m.Status == "valid" || m.Status == "down" {
				s.members = append(s.members, c)
			} else {
				s.leaving = append(s.leaving, c)
			}
		}
	}
	r, err := ringOf(&view)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.ringFile, err)
	}
	s.lists = r.Lists()
	for _, list := range s.lists {
		for i, name := range list {
			id, known := ids[string(name)]
			if !known && f.membersFile != "" {
				return nil, fmt.Errorf("%s: the ring has %s, and %s has no member of that name: save both at the same time", f.ringFile, name, f.membersFile)
			}
			if !known {
				id = name
				ids[string(name)], s.names[id] = id, string(name)
				s.members = append(s.members, ring.Claimant{Node: id, Weight: 1})
			}
			list[i] = id
		}
	}
	if view.Replicas < 1 || view.Replicas > ring.MaxReplicas {
		return nil, fmt.Errorf("%s: %d replicas: there can be 1 to %d", f.ringFile, view.Replicas, ring.MaxReplicas)
	}
	return s, nil
}

func readJSONFile(name string, v any) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s is not what was expected: %w", name, err)
	}
	return nil
}

func (a *app) printStep(s *simStep, q int) error {
	title := strings.Join(s.Changes, ", ")
	if title == "" {
		title = "no change"
	}
	fmt.Fprintf(a.out, "%s: %d partitions with %d replicas\n\n", title, q, s.Replicas)
	var rows [][]string
	for _, m := range s.Members {
		rows = append(rows, []string{
			m.Name, dash(m.Zone), strconv.Itoa(m.Weight), changedTo(m.Owned, m.PendingOwned), changedTo(m.Slots, m.PendingSlots),
			fmt.Sprintf("%.1f%%", 100*m.Share), fmt.Sprintf("%.1f%%", 100*m.PendingShare), fmt.Sprintf("%.1f", m.Due),
		})
	}
	if err := printTable(a.out, "NAME ZONE WEIGHT OWNED SLOTS SHARE THEN DUE", rows); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "\n%d of %d places move, the least possible is %d; %d of these are new replicas. %d changes of place, %d replicas dropped.\n",
		s.Moves, s.Places, s.Least, s.Adds, s.Swaps, s.Drops)
	fmt.Fprintf(a.out, "Partitions not on distinct nodes: %s; not on distinct zones, as far as there are: %s.\n",
		changedTo(s.Violations.Now.Nodes, s.Violations.Then.Nodes), changedTo(s.Violations.Now.Zones, s.Violations.Then.Zones))
	for _, w := range s.Warnings {
		fmt.Fprintf(a.out, "warning: %s\n", w)
	}
	if len(s.Transfers) == 0 {
		return nil
	}
	fmt.Fprintln(a.out)
	rows = rows[:0]
	for _, t := range s.Transfers {
		rows = append(rows, []string{t.Kind, dash(t.From), dash(t.To), strconv.Itoa(t.Partitions)})
	}
	return printTable(a.out, "KIND FROM TO PARTITIONS", rows)
}

// changedTo is a number that stays, or the numbers before and after.
func changedTo(now, then int) string {
	if now == then {
		return strconv.Itoa(now)
	}
	return fmt.Sprintf("%d -> %d", now, then)
}
