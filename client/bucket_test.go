package client

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

func TestLists(t *testing.T) {
	f := newCluster(t, 3, 3)
	c := f.client()
	want := map[string]string{}
	for i := range 200 {
		key := fmt.Sprint("key ", i)
		want[key] = "value of " + key
		put(t, c, key, want[key])
	}
	seen := 0
	cover, err := c.Values(t.Context(), "b", CoverOptions{}, func(it *Item) error {
		seen++
		if want[string(it.Key)] != string(it.Value) || it.Node == "" {
			t.Errorf("item %q %q of node %q", it.Key, it.Value, it.Node)
		}
		return nil
	})
	if err != nil || !cover.Complete || cover.Missing == nil || seen != 200 {
		t.Fatalf("values: %d, %+v, %v", seen, cover, err)
	}
	stop := errors.New("enough")
	seen = 0
	_, err = c.Keys(t.Context(), "b", CoverOptions{}, func(*Item) error {
		if seen++; seen == 3 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || seen != 3 {
		t.Fatalf("keys, stopped: %d, %v", seen, err)
	}
}

func TestListsSurviveNodesThatAreDown(t *testing.T) {
	f := newCluster(t, 3, 3)
	c := f.client()
	put(t, c, "a", "1")
	f.nodes[0].stop()
	f.nodes[2].stop()
	for range 5 {
		seen := 0
		cover, err := c.Keys(t.Context(), "b", CoverOptions{}, func(*Item) error { seen++; return nil })
		if err != nil || !cover.Complete || seen != 1 {
			t.Fatalf("keys: %d, %+v, %v", seen, cover, err)
		}
	}
}

func TestListRefusals(t *testing.T) {
	f := newCluster(t, 1, 1)
	c := f.client()
	f.setRefuse(func(*node, *wire.Frame) (wire.Code, string) { return wire.NotSupported, "no" })
	if _, err := c.Keys(t.Context(), "b", CoverOptions{}, nil); !errors.Is(err, &Error{Code: wire.NotSupported}) {
		t.Errorf("keys: %v", err)
	}
	if _, err := c.Keys(t.Context(), "", CoverOptions{}, nil); !errors.Is(err, &Error{Code: wire.BadRequest}) {
		t.Errorf("keys of no bucket: %v", err)
	}
}

func TestClear(t *testing.T) {
	f := newCluster(t, 3, 3)
	c := f.client()
	for i := range 200 {
		put(t, c, fmt.Sprint(i), "v")
	}
	f.setRefuse(func(_ *node, fr *wire.Frame) (wire.Code, string) {
		if call, err := wire.ParseCall(fr.Body); fr.Op == wire.OpCommand && err == nil && bytes.Equal(call.Key, []byte("7")) {
			return wire.QuorumNotMet, "1 of 2"
		}
		return wire.OK, ""
	})
	res, err := c.Clear(t.Context(), "b", WriteOptions{})
	if err != nil || res.Complete || res.Deleted != 199 || res.Failed != 1 || string(res.Keys[0]) != "7" || !errors.Is(res.Err, ErrQuorum) {
		t.Fatalf("clear: %+v, %v", res, err)
	}
	f.setRefuse(nil)
	if res, err := c.Clear(t.Context(), "b", WriteOptions{}); err != nil || !res.Complete || res.Deleted != 1 {
		t.Fatalf("clear: %+v, %v", res, err)
	}
}
