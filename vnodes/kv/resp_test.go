package kv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// serveRESP starts a server over f and returns its address.
func serveRESP(t *testing.T, f *fakeCluster) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	cfg := RESPConfig{Version: "test", now: f.now, Info: func() []InfoField { return []InfoField{{"node", "n1"}} }}
	go func() { done <- ServeRESP(ctx, ln, f.kv(), cfg) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return ln.Addr().String()
}

func redisClient(t *testing.T, addr string, proto int) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, Protocol: proto, ClientName: "tester", MaxRetries: -1})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// wantReply checks the result of one go-redis call.
func wantReply[T comparable](t *testing.T, what string, cmd interface{ Result() (T, error) }, want T) {
	t.Helper()
	if got, err := cmd.Result(); err != nil || got != want {
		t.Errorf("%s: %v, %v; want %v", what, got, err, want)
	}
}

func wantNil[T any](t *testing.T, what string, cmd interface{ Result() (T, error) }) {
	t.Helper()
	if got, err := cmd.Result(); !errors.Is(err, redis.Nil) {
		t.Errorf("%s: %v, %v; want nil", what, got, err)
	}
}

func TestGoRedis(t *testing.T) {
	for _, n := range []int{1, 3} {
		for _, proto := range []int{2, 3} {
			t.Run(fmt.Sprintf("n=%d/RESP%d", n, proto), func(t *testing.T) {
				f := newFake(n)
				r := redisClient(t, serveRESP(t, f), proto)
				t.Run("strings", func(t *testing.T) { redisStrings(t, r) })
				t.Run("expiry", func(t *testing.T) { redisExpiry(t, f, r) })
				t.Run("keys", func(t *testing.T) { redisKeys(t, r) })
				t.Run("session", func(t *testing.T) { redisSession(t, r) })
			})
		}
	}
}

func redisStrings(t *testing.T, r *redis.Client) {
	ctx := t.Context()
	wantNil(t, "get of nothing", r.Get(ctx, "a"))
	wantReply(t, "set", r.Set(ctx, "a", "1", 0), "OK")
	wantReply(t, "get", r.Get(ctx, "a"), "1")
	wantReply(t, "strlen", r.StrLen(ctx, "a"), 1)
	wantReply(t, "strlen of nothing", r.StrLen(ctx, "none"), 0)
	wantNil(t, "set nx on a value", r.SetArgs(ctx, "a", "2", redis.SetArgs{Mode: "NX"}))
	wantReply(t, "set nx", r.SetArgs(ctx, "nx", "2", redis.SetArgs{Mode: "NX"}), "OK")
	wantNil(t, "set xx on nothing", r.SetArgs(ctx, "xx", "2", redis.SetArgs{Mode: "XX"}))
	wantReply(t, "set xx", r.SetArgs(ctx, "a", "3", redis.SetArgs{Mode: "XX"}), "OK")
	wantReply(t, "set get", r.SetArgs(ctx, "a", "4", redis.SetArgs{Get: true}), "3")
	wantNil(t, "set get on nothing", r.SetArgs(ctx, "new", "1", redis.SetArgs{Get: true}))
	wantReply(t, "getdel", r.GetDel(ctx, "a"), "4")
	wantNil(t, "getdel of nothing", r.GetDel(ctx, "a"))
	wantReply(t, "mset", r.MSet(ctx, "m1", "1", "m2", "2", "m1", "3"), "OK")
	got, err := r.MGet(ctx, "m1", "none", "m2").Result()
	if err != nil || !slices.Equal(got, []any{"3", nil, "2"}) {
		t.Errorf("mget: %v, %v", got, err)
	}
	big := strings.Repeat("x", codec.MaxValue)
	wantReply(t, "set of the longest value", r.Set(ctx, "big", big, 0), "OK")
	wantReply(t, "strlen of it", r.StrLen(ctx, "big"), codec.MaxValue)
	if err := r.Set(ctx, "big", big+"x", 0).Err(); err == nil || !strings.Contains(err.Error(), "too_large") {
		t.Errorf("set of a longer one: %v", err)
	}
	wantReply(t, "binary", r.Set(ctx, "\x00\r\n\xff", "\r\n\x00", 0), "OK")
	wantReply(t, "binary", r.Get(ctx, "\x00\r\n\xff"), "\r\n\x00")
	wantReply(t, "flushdb", r.FlushDB(ctx), "OK")
}

func redisExpiry(t *testing.T, f *fakeCluster, r *redis.Client) {
	ctx := t.Context()
	wantReply(t, "ttl of nothing", r.TTL(ctx, "e"), -2)
	wantReply(t, "set", r.Set(ctx, "e", "1", 0), "OK")
	wantReply(t, "ttl for ever", r.TTL(ctx, "e"), -1)
	wantReply(t, "persist of for ever", r.Persist(ctx, "e"), false)
	wantReply(t, "expire", r.Expire(ctx, "e", 10*time.Second), true)
	wantReply(t, "ttl", r.TTL(ctx, "e"), 10*time.Second)
	wantReply(t, "pttl", r.PTTL(ctx, "e"), 10*time.Second)
	wantReply(t, "persist", r.Persist(ctx, "e"), true)
	wantReply(t, "set ex", r.Set(ctx, "e", "2", 5*time.Second), "OK")
	wantReply(t, "set keepttl", r.Set(ctx, "e", "3", redis.KeepTTL), "OK")
	wantReply(t, "set px", r.Set(ctx, "p", "2", 1500*time.Millisecond), "OK")
	wantReply(t, "setex", r.Do(ctx, "setex", "s", 2, "2"), any("OK"))
	wantReply(t, "exists", r.Exists(ctx, "e", "p", "s", "none", "e"), 4)
	f.advance(1500 * time.Millisecond)
	wantReply(t, "ttl later", r.PTTL(ctx, "e"), 3500*time.Millisecond)
	wantReply(t, "exists later", r.Exists(ctx, "e", "p", "s"), 2)
	f.advance(time.Hour)
	wantReply(t, "exists in the end", r.Exists(ctx, "e", "p", "s"), 0)
	wantReply(t, "expire of nothing", r.Expire(ctx, "e", time.Second), false)
	wantReply(t, "set", r.Set(ctx, "e", "1", 0), "OK")
	wantReply(t, "expire in the past", r.Do(ctx, "EXPIRE", "e", "-1"), any(int64(1)))
	wantReply(t, "exists after it", r.Exists(ctx, "e"), 0)
	for _, args := range [][]any{{"SET", "e", "1", "EX", "0"}, {"SET", "e", "1", "PX", "-5"}, {"SETEX", "e", "0", "1"}, {"SET", "e", "1", "EX", "9223372036854775807"}} {
		if err := r.Do(ctx, args...).Err(); err == nil || !strings.Contains(err.Error(), "invalid expire time") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func redisKeys(t *testing.T, r *redis.Client) {
	ctx := t.Context()
	pipe := r.Pipeline()
	for i := range 2500 {
		pipe.Set(ctx, fmt.Sprintf("key:%d", i), i, 0)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	wantReply(t, "dbsize", r.DBSize(ctx), 2500)
	keys, err := r.Keys(ctx, "key:12?").Result()
	slices.Sort(keys)
	if err != nil || len(keys) != 10 || keys[0] != "key:120" {
		t.Errorf("keys: %q, %v", keys, err)
	}
	seen := map[string]bool{}
	for it := r.Scan(ctx, 0, "key:*9", 100).Iterator(); it.Next(ctx); {
		seen[it.Val()] = true
	}
	if len(seen) != 250 {
		t.Errorf("scan saw %d keys", len(seen))
	}
	wantReply(t, "del", r.Del(ctx, "key:1", "key:2", "none", "key:1"), 2)
	wantReply(t, "flushall", r.FlushAll(ctx), "OK")
	wantReply(t, "dbsize at the end", r.DBSize(ctx), 0)
}

func redisSession(t *testing.T, r *redis.Client) {
	ctx := t.Context()
	wantReply(t, "ping", r.Ping(ctx), "PONG")
	wantReply(t, "echo", r.Echo(ctx, "hi"), "hi")
	wantReply(t, "client getname", r.ClientGetName(ctx), "tester")
	if id, err := r.ClientID(ctx).Result(); err != nil || id < 1 {
		t.Errorf("client id: %d, %v", id, err)
	}
	info, err := r.Info(ctx).Result()
	if err != nil || !strings.Contains(info, "# Server\r\nredis_version:") || !strings.Contains(info, "# Ringcore\r\nnode:n1") {
		t.Errorf("info: %q, %v", info, err)
	}
	if info, err := r.Info(ctx, "clients").Result(); err != nil || !strings.HasPrefix(info, "# Clients") || strings.Contains(info, "# Server") {
		t.Errorf("info clients: %q, %v", info, err)
	}
	if got, err := r.ConfigGet(ctx, "save").Result(); err != nil || len(got) != 1 {
		t.Errorf("config get: %v, %v", got, err)
	}
	commands, err := r.Command(ctx).Result()
	if err != nil || commands["mset"] == nil || commands["mset"].StepCount != 2 {
		t.Errorf("command: %v, %v", commands["mset"], err)
	}
	for _, c := range []struct{ cmd, want string }{
		{"FLY me", "ERR unknown command 'FLY', with args beginning with: 'me'"},
		{"GET", "ERR wrong number of arguments for 'get' command"},
		{"MSET a 1 b", "ERR wrong number of arguments for 'mset' command"},
		{"SET a 1 NX XX", respSyntax},
		{"SET a 1 EX", respSyntax},
		{"SET a 1 EX 1 KEEPTTL", respSyntax},
		{"SET a 1 EX x", respNotInteger},
		{"SELECT 1", "ERR DB index is out of range"},
		{"SCAN x", "ERR invalid cursor"},
		{"CONFIG SET a b", "ERR unknown subcommand"},
		{"HELLO 4", "NOPROTO"},
		{"AUTH secret", "ERR AUTH"},
	} {
		var args []any
		for a := range strings.FieldsSeq(c.cmd) {
			args = append(args, a)
		}
		if err := r.Do(ctx, args...).Err(); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.cmd, err, c.want)
		}
	}
}

// What cannot be answered truly is an error that may be tried again.
func TestRESPErrors(t *testing.T) {
	f := newFake(3)
	r := redisClient(t, serveRESP(t, f), 3)
	ctx := t.Context()
	for _, code := range []wire.Code{wire.Unavailable, wire.QuorumNotMet, wire.Overload, wire.Maybe, wire.Deadline} {
		f.mu.Lock()
		f.refuse = func(wire.Op, *wire.Call) error { return wire.Errorf(code, "1 of 2") }
		f.mu.Unlock()
		for what, err := range map[string]error{
			"get": r.Get(ctx, "a").Err(), "set": r.Set(ctx, "a", "1", 0).Err(), "del": r.Del(ctx, "a", "b").Err(), "mget": r.MGet(ctx, "a", "b").Err(),
			"exists": r.Exists(ctx, "a").Err(), "set nx": r.SetArgs(ctx, "a", "1", redis.SetArgs{Mode: "NX"}).Err(), "ttl": r.TTL(ctx, "a").Err(),
		} {
			if err == nil || !strings.HasPrefix(err.Error(), "TRYAGAIN "+code.String()) {
				t.Errorf("%s, %v: %v", what, code, err)
			}
		}
	}
	f.mu.Lock()
	f.refuse = func(wire.Op, *wire.Call) error { return wire.Errorf(wire.DiskFull, "no room") }
	f.mu.Unlock()
	for what, err := range map[string]error{
		"set": r.Set(ctx, "a", "1", 0).Err(), "set nx": r.SetArgs(ctx, "a", "1", redis.SetArgs{Mode: "NX"}).Err(), "del": r.Del(ctx, "a").Err(),
		"mset": r.MSet(ctx, "a", "1", "b", "2").Err(), "dels": r.Del(ctx, "a", "b").Err(),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "MISCONF disk_full: no room") {
			t.Errorf("%s: %v", what, err)
		}
	}
	f.mu.Lock()
	f.down[1], f.refuse = true, nil
	f.mu.Unlock()
	for what, err := range map[string]error{
		"keys": r.Keys(ctx, "*").Err(), "dbsize": r.DBSize(ctx).Err(), "scan": r.Scan(ctx, 0, "*", 10).Err(), "flushall": r.FlushAll(ctx).Err(),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "TRYAGAIN unavailable") {
			t.Errorf("%s with a partition down: %v", what, err)
		}
	}
}
