package main

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// claiming is the environment of a node that says what it is not.
func claiming(version, capabilities string) []string {
	return []string{testEnv + "=1", testVersionEnv + "=" + version, testCapabilitiesEnv + "=" + capabilities}
}

// uses waits until p knows which versions of capabilities are in use.
func uses(t *testing.T, p *process, want map[string]int) {
	t.Helper()
	until(t, p.name+" knows what is in use", func() error {
		var list []struct {
			Name  string
			InUse int `json:"in_use"`
		}
		if err := p.get("/v1/capabilities", &list); err != nil {
			return err
		}
		got := map[string]int{}
		for _, k := range list {
			if _, asked := want[k.Name]; asked {
				got[k.Name] = k.InUse
			}
		}
		if !maps.Equal(got, want) {
			return fmt.Errorf("in use: %v, want %v", got, want)
		}
		return nil
	})
}

// endsSaying starts p, which must end by itself with a reason.
func endsSaying(t *testing.T, p *process, why string, args ...string) {
	t.Helper()
	p.start(args...)
	p.awaitExit(exitFailed)
	if !strings.Contains(p.said(), why) {
		t.Errorf("%s does not say %q:\n%s", p.name, why, p.said())
	}
}

// Nodes of three versions under load: what all can do is used, more as soon as the last
// one is upgraded, and again less when one goes back, but for what lasts: a node that
// cannot do that does not start, nor join. Nobody notices anything.
func TestMixedVersions(t *testing.T) {
	long(t)
	const newer = "likes.format=1-2!,likes.wire=3"
	nodes := mixedNodes(t, 3, "", claiming("2.0", newer)...)
	n1, n3 := nodes[0], nodes[2]
	load := startCheck(t, nodes, nil, "--callers", "8")
	for _, p := range nodes {
		uses(t, p, map[string]int{"likes.format": 2, "likes.wire": 3, "metadata": 2})
	}

	again := func(p *process, version, capabilities string) {
		t.Helper()
		settle(t, nodes...)
		p.stop()
		p.with("", claiming(version, capabilities)...)
		p.restart()
	}
	again(n3, "1.0", "likes.format=2!,likes.wire=1") // ready: the others know
	uses(t, n3, map[string]int{"likes.wire": 1})
	uses(t, n1, map[string]int{"likes.wire": 1, "likes.format": 2})
	again(n3, "2.1", "likes.format=2-3!,likes.wire=2,likes.new=1") // the one unknown to the others is ignored
	uses(t, n1, map[string]int{"likes.wire": 2, "likes.format": 2, "likes.new": 0})
	out := n1.ok("cluster", "capabilities")
	for _, line := range []string{"likes.new 0 0 no n1,n2 n1:0,n2:0,n3:1", "likes.wire 2 2 no n3 n1:3,n2:3,n3:2"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), line) {
			t.Errorf("%q is not in\n%s", line, out)
		}
	}
	again(n3, "3.0", "likes.format=2!") // the one removed too
	uses(t, n1, map[string]int{"likes.wire": 0, "likes.format": 2})

	settle(t, nodes...)
	n3.stop()
	n3.with("", claiming("1.0", "likes.format=1!")...)
	endsSaying(t, n3, "n3 (version 1.0) can do likes.format 1, and the cluster uses 2 for good", n3.places()...)
	joiner := func(capabilities string, why string) {
		t.Helper()
		p := &process{t: t, name: "n4", args: []string{"--name", "n4", "--data-dir", t.TempDir(), "--join", n1.addr}}
		p.with("", claiming("0.9", capabilities)...)
		endsSaying(t, p, why, "--addr", "127.0.0.1:0")
	}
	joiner("likes.wire=3", "n4 (version 0.9) can do likes.format 0, and the cluster uses 2 for good")
	joiner("likes.format=2!,likes.wire=4-5", "n4 (version 0.9) needs likes.wire 4, and n3 (version 3.0) can do 0: upgrade that member first")

	n3.with("", claiming("2.0", newer)...)
	n3.restart()
	uses(t, n3, map[string]int{"likes.format": 2, "likes.wire": 3})
	settle(t, nodes...)
	until(t, "n3's version is known", func() error {
		var members []struct {
			Name, Version string
			Capabilities  []string
		}
		if err := n1.get("/v1/members", &members); err != nil {
			return err
		}
		if m := members[2]; m.Name != "n3" || m.Version != "2.0" || fmt.Sprint(m.Capabilities) != "[backup=1 likes.format=1-2 likes.wire=3 metadata=1-2]" {
			return errors.New(fmt.Sprint(m))
		}
		return nil
	})
	v := load.verdict()
	v.tell(t)
	if v.Verdict != "ok" || len(v.Errors) > 0 || v.Puts == 0 {
		t.Errorf("%s with errors %v", v.Verdict, v.Errors)
	}
}

// A member that is held at a version holds the cluster there, and what lasts is not
// begun: the version before can come back. That the others are upgraded does not matter
// until the hold is lifted.
func TestHeldVersion(t *testing.T) {
	long(t)
	held := mixedNodes(t, 1, "", claiming("2.0", "likes.format=1-2!")...)[0]
	uses(t, held, map[string]int{"likes.format": 2})
	held.stop()
	endsSaying(t, held, "can do likes.format 1", append(held.places(), "--hold", "likes.format=1")...)

	other := mixedNodes(t, 2, "", append(claiming("2.0", "likes.format=1-2!"), "RINGCORE_HOLD=likes.format=1,metadata=1")...)
	for _, p := range other {
		uses(t, p, map[string]int{"likes.format": 0, "metadata": 1}) // not even begun: that is the second version's
	}
	roll(t, other, other[:1], func(p *process) { p.with("", claiming("2.0", "likes.format=1-2!")...) })
	uses(t, other[1], map[string]int{"likes.format": 0, "metadata": 1})
	roll(t, other, other[1:], func(p *process) { p.with("", claiming("2.0", "likes.format=1-2!")...) })
	uses(t, other[0], map[string]int{"likes.format": 2, "metadata": 2})
}
