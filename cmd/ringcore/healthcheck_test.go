package main

import (
	"testing"

	"github.com/ringcore/ringcore/admin"
)

// TestHealthOf: what can be neither read nor changed is critical, what only lacks a copy is not.
func TestHealthOf(t *testing.T) {
	members := []admin.MemberView{{Name: "n1", Up: true, Leader: true}, {Name: "n2"}, {Name: "n0", Status: "left"}}
	for name, c := range map[string]struct {
		s    admin.StatusView
		want string
	}{
		"well":          {admin.StatusView{Members: members[:1]}, "ok"},
		"node away":     {admin.StatusView{Members: members, Live: admin.LiveView{Short: 64}}, "warning"},
		"no majority":   {admin.StatusView{Members: members, Live: admin.LiveView{Minority: []int{3}}}, "critical"},
		"no replica":    {admin.StatusView{Members: members, Live: admin.LiveView{Unreadable: []int{3}}}, "critical"},
		"nobody leads":  {admin.StatusView{Members: members[1:]}, "critical"},
		"hints and all": {admin.StatusView{Members: members[:1], Hints: []admin.HintsView{{Records: 3}, {Records: 4}}}, "ok"},
	} {
		c.s.Assess()
		h := healthOf(&c.s)
		if h.State != c.want {
			t.Errorf("%s: %s, want %s", name, h.State, c.want)
		}
		if name == "hints and all" && (h.Hints != 7 || h.Members != 1 || h.Up != 1) {
			t.Errorf("%+v", h)
		}
	}
}
