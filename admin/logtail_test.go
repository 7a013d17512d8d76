package admin_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ringcore/ringcore/admin"
)

func TestLogTailKeepsAndPassesOn(t *testing.T) {
	var tail admin.LogTail
	var out bytes.Buffer
	log := slog.New(tail.Handler(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})))
	log.Debug("not kept")
	log.With("node", "n1").WithGroup("g").Info("kept", "items", 3, slog.Group("sub", "a", 1))
	log.Warn("told too", "err", strings.Repeat("x", 10_000))
	kept, _ := tail.Follow(t.Context(), 0)
	if len(kept) != 2 || kept[0].Message != "kept" || kept[0].Level != "INFO" || kept[0].Seq != 1 {
		t.Fatalf("kept %+v", kept)
	}
	if d := cmp.Diff([]admin.LogAttr{{Key: "node", Value: "n1"}, {Key: "g.items", Value: "3"}, {Key: "g.sub.a", Value: "1"}}, kept[0].Attrs); d != "" {
		t.Error(d)
	}
	if n := len(kept[1].Attrs[0].Value); n > 5000 {
		t.Errorf("a value of %d bytes is kept", n)
	}
	if s := out.String(); strings.Contains(s, "kept") || !strings.Contains(s, "told too") {
		t.Errorf("passed on: %.100s", s)
	}
}

func TestLogTailIsBounded(t *testing.T) {
	var tail admin.LogTail
	log := slog.New(tail.Handler(slog.DiscardHandler))
	for i := range 2500 {
		log.Info("line", "items", i)
	}
	kept, _ := tail.Follow(t.Context(), 0)
	if len(kept) != 1000 || kept[0].Seq != 1501 || kept[999].Attrs[0].Value != "2499" {
		t.Errorf("%d kept, from %d on", len(kept), kept[0].Seq)
	}
	if kept, _ = tail.Follow(t.Context(), 2490); len(kept) != 10 || kept[0].Seq != 2491 {
		t.Errorf("since 2490: %d kept", len(kept))
	}
	if kept, _ = tail.Follow(t.Context(), 9000); len(kept) != 1000 {
		t.Errorf("since another life: %d kept", len(kept))
	}
}

func TestLogTailReaders(t *testing.T) {
	var tail admin.LogTail
	log := slog.New(tail.Handler(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	_, slow := tail.Follow(t.Context(), 0)
	_, quick := tail.Follow(ctx, 0)
	log.Info("one")
	if e := <-quick; e.Message != "one" {
		t.Errorf("got %+v", e)
	}
	cancel()
	if _, open := <-quick; open {
		t.Error("a reader that has gone is still told")
	}
	for i := range 300 { // more than a reader may lag
		log.Info(fmt.Sprint("line ", i))
	}
	n := 0
	for range slow {
		n++
	}
	if n == 0 || n > 256 {
		t.Errorf("one who lags got %d", n)
	}
}

func TestLogStream(t *testing.T) {
	node := &fakeNode{}
	log := slog.New(node.tail.Handler(slog.DiscardHandler))
	log.Info("before", "peer", "n2")
	_, base := start(t, node)
	lines := follow(t, base+"/v1/logs", "")
	for _, want := range []string{"id: 1", "event: log"} {
		if got := next(lines); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	if got := next(lines); !strings.Contains(got, `"message":"before","attrs":[{"key":"peer","value":"n2"}]`) {
		t.Fatal(got)
	}
	next(lines)
	log.Warn("after\nall")
	if got := next(lines) + next(lines) + next(lines); !strings.Contains(got, `"message":"after\nall"`) {
		t.Fatal(got)
	}
	if again := follow(t, base+"/v1/logs", "1"); next(again) != "id: 2" {
		t.Error("one who comes back gets again what he has")
	}
}
