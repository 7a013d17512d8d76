package vnodetest

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes"
)

// Inputs are the requests that the suite sends to a service. Their outcome must
// not depend on the time of day or on chance, and each must be answered with a
// reply or a *wire.Error.
type Inputs struct {
	// Commands run one after the other. Several should be addressed to one key, and
	// some should delete, if the service can. At least one is needed.
	Commands []wire.Call
	Queries  []wire.Call // asked when all commands have run
	Covers   [][]byte    // bodies of coverage queries
}

// Run checks service and reports what is wrong as failures of t, one subtest for
// each law.
func Run(t *testing.T, service vnodes.Service, in Inputs) {
	t.Helper()
	if len(in.Commands) == 0 {
		t.Fatal("vnodetest: Inputs.Commands is empty, so that there is nothing to check")
	}
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			s := &suite{
				service: service, in: in, tempDir: t.TempDir,
				log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
			}
			if err := c.run(s); err != nil {
				t.Error(err)
			}
		})
	}
}

// suite is what a check works with.
type suite struct {
	service vnodes.Service
	in      Inputs
	tempDir func() string
	log     *slog.Logger
}

// check is one law. It returns nil if the law holds, also because the vnode does
// not have the ability that it is about.
type check struct {
	name string
	run  func(*suite) error
}

func checks() []check {
	return []check{
		{"Restart", checkRestart},
		{"Query", checkQuery},
		{"Cover", checkCover},
		{"CoverStops", checkCoverStops},
		{"Merge", checkMerge},
		{"Resolve", checkResolve},
		{"Replicas", checkReplicas},
		{"Blind", checkBlind},
		{"Malformed", checkMalformed},
	}
}

// withNode runs fn on a new node in memory that every command, or those that wanted
// picks by their number, has been run on.
func (s *suite) withNode(id nodeNumber, wanted func(i int) bool, fn func(*node, []outcome) error) error {
	n, err := s.open(id, "")
	if err != nil {
		return err
	}
	outcomes, err := n.runAll(s.in.Commands, wanted)
	if err == nil {
		err = fn(n, outcomes)
	}
	return errors.Join(err, n.close())
}

func all(int) bool { return true }

// title names one input for people.
func title(kind string, i int, c *wire.Call) string {
	return fmt.Sprintf("%s %d (bucket %q, key %q, body %q)", kind, i, c.Bucket, c.Key, brief(c.Body))
}

// brief is b, shortened.
func brief(b []byte) string {
	if len(b) > 60 {
		return fmt.Sprintf("%s… %d bytes", b[:60], len(b))
	}
	return string(b)
}
