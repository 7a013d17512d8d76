package admin_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ringcore/ringcore/admin"
)

func threeMembers() []admin.MemberView {
	return []admin.MemberView{
		{Name: "n1", Status: "valid", Up: true, Slots: 8, Voter: true, Leader: true},
		{Name: "n2", Status: "valid", Up: true, Slots: 8, Voter: true},
		{Name: "n3", Status: "valid", Up: true, Slots: 8, Voter: true},
	}
}

func TestAssess(t *testing.T) {
	for name, c := range map[string]struct {
		make    func(s *admin.StatusView)
		reasons []string
		help    string // of all that is waited for
	}{
		"all is well": {make: func(*admin.StatusView) {}},
		"partitions move, hints are on their way, changes are staged, a slot catches up": {make: func(s *admin.StatusView) {
			s.Transfers = admin.TransfersView{Waiting: 5, Active: []admin.TransferView{{Kind: "add"}}}
			s.Hints = []admin.HintsView{{For: "n2", Records: 5}}
			s.Staged, s.Silent = []string{"join n4"}, []string{"n2"}
			s.Slots = []admin.SlotsView{{Node: "n1", Service: "kv", State: "catching up", Partitions: []int{1}}}
		}},
		"one joins": {make: func(s *admin.StatusView) {
			s.Members = append(s.Members, admin.MemberView{Name: "n4", Status: "joining", Up: true})
			s.Checks = []admin.NodeCheck{{Node: "n4", Check: admin.Check{Name: "member", Detail: "this node is joining"}}}
		}},
		"one has left": {make: func(s *admin.StatusView) {
			s.Members = append(s.Members, admin.MemberView{Name: "n4", Status: "left"})
		}},
		"a leaver is down": {
			make: func(s *admin.StatusView) {
				s.Members[2].Up, s.Members[2].Status = false, "leaving"
				s.Waiting = []admin.WaitView{{For: "n3", Partitions: 1}}
			},
			reasons: []string{"n3 cannot be reached"},
			help: "1 partition cannot move on without it; its leave waits for itself; 8 replicas away until it is back: " +
				"start n3 again; if it is lost for good: ringcore cluster force-replace n3 NEW, or ringcore cluster force-remove n3",
		},
		"the majority of the voters is down": {
			make: func(s *admin.StatusView) {
				for i := range s.Members {
					s.Members[i].Leader, s.Members[i].Up, s.Members[i].Slots = false, i == 0, 0
				}
			},
			reasons: []string{"n2 cannot be reached", "n3 cannot be reached", "no leader is known: nothing can be changed"},
			help: "every change of the ring waits for a leader: most of the voters (n1, n2, n3) must be up: start n2, n3 again; if they are lost for good: ringcore recover\n" +
				"nothing else waits for it: start n2 again; if it is lost for good: ringcore cluster force-replace n2 NEW, or ringcore cluster force-remove n2\n" +
				"nothing else waits for it: start n3 again; if it is lost for good: ringcore cluster force-replace n3 NEW, or ringcore cluster force-remove n3",
		},
		"an election": {
			make:    func(s *admin.StatusView) { s.Members[0].Leader = false },
			reasons: []string{"no leader is known: nothing can be changed"},
			help:    "every change of the ring waits for a leader: one is elected within seconds while most of the voters are up: n1, n2, n3",
		},
		"transfers hang at a node that is up": {
			make: func(s *admin.StatusView) {
				s.Transfers.Active = []admin.TransferView{
					{Kind: "move", From: "n2", To: "n3", StillS: 31},
					{Kind: "add", To: "n2", StillS: 75},
					{Kind: "drop", From: "n1", StillS: 29},
					{Kind: "hinted", From: "n1", To: "n3", StillS: 100}, // raft knows of none
				}
			},
			reasons: []string{"2 transfers of n2 are stuck"},
			help: "2 transfers that it drives are stuck: nothing has happened for 75 s: " +
				"see its log for a vnode or a disk that hangs, and start it again: its transfers are begun anew",
		},
		"data is away": {
			make: func(s *admin.StatusView) {
				s.Live = admin.LiveView{Short: 3, Minority: []int{1, 2}, Unreadable: []int{2}}
				s.Slots = []admin.SlotsView{{Node: "n1", Service: "kv", State: "lost", Reason: "no file", Partitions: []int{1}}}
				s.Checks = []admin.NodeCheck{{Node: "n2", Check: admin.Check{Name: "disk"}}, {Node: "n2", Check: admin.Check{Name: "leader"}}}
			},
			reasons: []string{
				"no replica lives of 1 partition: that data is unavailable", "no majority lives of 1 partition: requests of a majority fail there",
				"too few replicas live of 3 partitions", "1 partition of service kv on n1 cannot be read there", "check disk of n2 fails",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := admin.StatusView{Members: threeMembers()}
			c.make(&s)
			s.Assess()
			if want := append([]string{}, c.reasons...); s.Healthy != (len(want) == 0) || !cmp.Equal(want, s.Reasons) {
				t.Errorf("healthy: %v; %s", s.Healthy, cmp.Diff(want, s.Reasons))
			}
			var help []string
			for _, w := range s.Waiting {
				help = append(help, w.About+": "+w.Help)
			}
			if diff := cmp.Diff(c.help, strings.Join(help, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMovingAddsUp(t *testing.T) {
	s := admin.StatusView{Members: threeMembers(), Transfers: admin.TransfersView{Active: []admin.TransferView{
		{Records: 1000, Bytes: 100_000, BytesPerS: 50_000, ETAS: 7}, {Records: 10, Bytes: 1000, BytesPerS: 100, ETAS: 30}, {Kind: "begun"},
	}}}
	s.Assess()
	if want := (admin.MovingView{Active: 3, RecordsPer: 501, BytesPerS: 50_100, ETAS: 30}); s.Moving != want {
		t.Errorf("%+v, want %+v", s.Moving, want)
	}
	s.Transfers.Waiting = 1
	if s.Assess(); s.Moving.ETAS != 0 {
		t.Errorf("%d s left, and more are to begin", s.Moving.ETAS)
	}
}

func TestLiveCountsWhatIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		a    admin.Alive
		want admin.LiveView
	}{
		"all live":                              {admin.Alive{Wanted: 3, List: 3, Readable: 3, Up: 3, Live: 3}, admin.LiveView{}},
		"a third is being added":                {admin.Alive{Wanted: 3, List: 3, Readable: 2, Up: 3, Live: 2, Moving: true}, admin.LiveView{}},
		"a third is to be added":                {admin.Alive{Wanted: 3, List: 2, Readable: 2, Up: 2, Live: 2, Moving: true}, admin.LiveView{}},
		"a third is missing, and nobody's task": {admin.Alive{Wanted: 3, List: 2, Readable: 2, Up: 2, Live: 2}, admin.LiveView{Short: 1}},
		"one is down":                           {admin.Alive{Wanted: 3, List: 3, Readable: 3, Up: 2, Live: 2, Moving: true}, admin.LiveView{Short: 1}},
		"two are down":                          {admin.Alive{Wanted: 3, List: 3, Readable: 3, Up: 1, Live: 1}, admin.LiveView{Short: 1, Minority: []int{7}}},
		"all are down":                          {admin.Alive{Wanted: 1, List: 1, Readable: 1}, admin.LiveView{Short: 1, Minority: []int{7}, Unreadable: []int{7}}},
		"of one, and it lives":                  {admin.Alive{Wanted: 1, List: 1, Readable: 1, Up: 1, Live: 1}, admin.LiveView{}},
	} {
		var got admin.LiveView
		got.Count(7, c.a)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
