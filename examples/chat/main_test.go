package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/ringcoretest"
	"github.com/ringcore/ringcore/vnodes/vnodetest"
)

func must1[T any](v T, err error) T {
	must(err)
	return v
}

func TestChatIsAVnode(t *testing.T) {
	vnodetest.Run(t, service(), vnodetest.Inputs{
		Commands: []ringcore.Call{
			must1(enterRoom.Call("kitchen", enter{"ann"})), must1(enterRoom.Call("kitchen", enter{"ann"})), must1(enterRoom.Call("cellar", enter{"bob"})),
			must1(sayInRoom.Call("kitchen", say{"ann", "hello"})), must1(sayInRoom.Call("kitchen", say{"bob", "hello"})),
			must1(leaveRoom.Call("cellar", leave{"bob"})),
		},
		Queries: []ringcore.Call{must1(history.Call("kitchen", since{})), must1(history.Call("attic", since{}))},
		Covers:  [][]byte{must1(openRooms.Body(struct{}{}))},
	})
}

// Two speak in each of twenty rooms, one at either node, while a third node joins and takes
// rooms over and the first one leaves: every line has a number of its own, and none is missing.
func TestRoomsMoveWhilePeopleTalk(t *testing.T) {
	const many, lines = 20, 10
	c := ringcoretest.Start(t, 2, ringcore.Config{Services: []ringcore.Service{service()}, WithoutKV: true})
	for i := range many {
		for j, n := range c.Nodes() {
			if _, err := enterRoom.Do(t.Context(), n, fmt.Sprint("room", i), enter{fmt.Sprint("guest", j)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	stays, goes := c.Node(1), c.Node(0)
	talk := func(on *ringcore.Node, name string) {
		for k := range many * lines {
			if _, err := sayInRoom.Do(t.Context(), on, fmt.Sprint("room", k%many), say{name, "hello"}); err != nil {
				t.Errorf("%s says something: %v", name, err)
				return
			}
		}
	}
	var talking sync.WaitGroup
	talking.Go(func() { talk(stays, "guest1") })
	joins := c.Join()
	talking.Go(func() { talk(joins, "guest0") })
	c.Leave(goes)
	talking.Wait()
	for i := range many {
		got, err := history.Do(t.Context(), stays, fmt.Sprint("room", i), since{})
		if err != nil || len(got) != 2*lines {
			t.Fatalf("room %d has heard %d lines, want %d: %v", i, len(got), 2*lines, err)
		}
		for k, m := range got {
			if m.N != k+1 {
				t.Errorf("line %d of room %d has the number %d", k+1, i, m.N)
			}
		}
	}
	all, err := openRooms.All(t.Context(), stays, struct{}{})
	if err != nil || len(all) != many || all[0].Value != 2 {
		t.Errorf("open rooms: %v, %v", all, err)
	}
	overHTTP(t, stays)
}

func overHTTP(t *testing.T, n *ringcore.Node) {
	srv := httptest.NewServer(handler(n))
	defer srv.Close()
	resp, err := http.Post(srv.URL+"/rooms/room0/nobody?text=hi", "", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusConflict || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("who is not in the room says something: %s", resp.Status)
	}
	if _, err := enterRoom.Do(t.Context(), n, "room0", enter{"guest1"}); !errors.Is(err, &ringcore.Error{Code: ringcore.CodeConflict}) {
		t.Errorf("a second one of a name enters: %v", err)
	}
}
