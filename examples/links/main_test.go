package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/ringcoretest"
	"github.com/ringcore/ringcore/vnodes/kv"
)

// Links that were made at three nodes lead to where they should at every node that is up,
// while one is down and when another has joined, and the list has each once.
func TestLinksOutliveANode(t *testing.T) {
	c := ringcoretest.Start(t, 3, ringcore.Config{})
	made := make(map[string]string)
	for i := range 30 {
		target := fmt.Sprint("https://example.org/", i)
		code, err := links{c.Node(i % 3).KV()}.shorten(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		made[code] = target
	}
	c.Stop(c.Node(2))
	check(t, c, made)
	c.Join()
	check(t, c, made)
}

func check(t *testing.T, c *ringcoretest.Cluster, made map[string]string) {
	t.Helper()
	for _, n := range c.Nodes() {
		l := links{n.KV()}
		for code, want := range made {
			if got, err := l.target(t.Context(), code); err != nil || got != want {
				t.Errorf("%s at %s leads to %q, want %q: %v", code, n.Info().Name, got, want, err)
			}
		}
		if _, err := l.target(t.Context(), "none"); !errors.Is(err, kv.ErrNotFound) {
			t.Errorf("a code that is none: %v", err)
		}
		listed := make(map[string]string)
		err := l.each(t.Context(), func(code, target string) error {
			if listed[code] != "" {
				t.Errorf("%s is listed twice", code)
			}
			listed[code] = target
			return nil
		})
		if err != nil || len(listed) != len(made) {
			t.Errorf("%d links are listed at %s, want %d: %v", len(listed), n.Info().Name, len(made), err)
		}
	}
}

func TestLinksOverHTTP(t *testing.T) {
	c := ringcoretest.Start(t, 1, ringcore.Config{Storage: "memory"})
	srv := httptest.NewServer(handler(links{c.Node(0).KV()}))
	defer srv.Close()
	noFollow := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := noFollow.PostForm(srv.URL, url.Values{"url": {"https://example.org/page"}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var path string
	if _, err := fmt.Fscan(resp.Body, &path); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		path     string
		status   int
		location string
	}{{path, http.StatusFound, "https://example.org/page"}, {"/none", http.StatusNotFound, ""}} {
		resp, err := noFollow.Get(srv.URL + x.path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != x.status || resp.Header.Get("Location") != x.location {
			t.Errorf("GET %s: %s, %q", x.path, resp.Status, resp.Header.Get("Location"))
		}
	}
}
