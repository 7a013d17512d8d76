package ringcore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strconv"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/vnodes/kv"
)

// counter is a vnode that counts.
type counter struct{}

// Command counts one up and answers the new count.
func (counter) Command(tx *ringcore.Tx, _ []byte) ([]byte, error) {
	old, _ := tx.Get(tx.Key())
	n, _ := strconv.Atoi(string(old)) // 0 if there is none yet
	next := strconv.AppendInt(nil, int64(n+1), 10)
	tx.Put(tx.Key(), next)
	return next, nil
}

// Query answers the count.
func (counter) Query(tx *ringcore.Tx, _ []byte) ([]byte, error) {
	n, ok := tx.Get(tx.Key())
	if !ok {
		return nil, ringcore.Errorf(ringcore.CodeNotFound, "%s has not been counted", tx.Key())
	}
	return n, nil
}

// Cover emits every counter.
func (counter) Cover(tx *ringcore.Tx, _ []byte, emit func(ringcore.Item) error) (err error) {
	tx.Ascend(nil, func(key []byte, r ringcore.Record) bool {
		err = emit(ringcore.Item{Key: key, Stamp: r.Stamp, Deleted: r.Deleted(), Value: r.Value})
		return err == nil
	})
	return err
}

var counters = ringcore.Service{Name: "counter", N: 1, New: func(ringcore.Partition) ringcore.Vnode { return counter{} }}

// start opens a node for an example, alone, on free ports, its records in memory. stop
// closes it.
func start(services ...ringcore.Service) (node *ringcore.Node, stop func()) {
	dir, err := os.MkdirTemp("", "ringcore-example-")
	if err != nil {
		log.Fatal(err)
	}
	node, err = ringcore.Open(context.Background(), ringcore.Config{
		Dir: dir, Name: "n1", Addr: "127.0.0.1:0", HTTPAddr: "off", RESPAddr: "off", Storage: "memory",
		Services: services, Logger: slog.New(slog.DiscardHandler), OneMachine: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	return node, func() {
		if err := errors.Join(node.Close(), os.RemoveAll(dir)); err != nil {
			log.Fatal(err)
		}
	}
}

// A service in a node: commands are run where their key lives.
func Example() {
	node, stop := start(counters)
	defer stop()
	for _, key := range []string{"apples", "pears", "apples"} {
		reply, err := node.Command(context.Background(), "counter", ringcore.Call{Key: []byte(key)})
		fmt.Printf("%s %s %v\n", key, reply, err)
	}
	// Output:
	// apples 1 <nil>
	// pears 1 <nil>
	// apples 2 <nil>
}

// A node with an empty folder makes a cluster of its own; one with Join becomes a member of
// another's. Both keep what they are and hold when they are opened again.
func ExampleOpen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "ringcore-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cfg := ringcore.Config{
		Dir: dir + "/n1", Name: "n1", Addr: "127.0.0.1:0", // "127.0.0.1:7400" if you leave it out
		Services: []ringcore.Service{counters},
		Logger:   slog.New(slog.DiscardHandler), OneMachine: true,
	}
	n1, err := ringcore.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer n1.Close()

	cfg.Dir, cfg.Name, cfg.Join = dir+"/n2", "n2", []string{n1.Info().Addr}
	n2, err := ringcore.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer n2.Close()
	if err := n2.Ready(ctx); err != nil { // it has joined
		log.Fatal(err)
	}
	for _, n := range []*ringcore.Node{n1, n2} {
		reply, err := n.Command(ctx, "counter", ringcore.Call{Key: []byte("apples")})
		fmt.Printf("%s %s %v\n", n.Info().Name, reply, err)
	}
	// Output:
	// n1 1 <nil>
	// n2 2 <nil>
}

// A query reads. It runs beside commands and sees what is durable.
func ExampleNode_Query() {
	node, stop := start(counters)
	defer stop()
	ctx := context.Background()
	_, _ = node.Command(ctx, "counter", ringcore.Call{Key: []byte("apples")})
	for _, key := range []string{"apples", "plums"} {
		reply, err := node.Query(ctx, "counter", ringcore.Call{Key: []byte(key)})
		fmt.Printf("%q %v\n", reply, err)
	}
	// Output:
	// "1" <nil>
	// "" not_found: plums has not been counted
}

// A coverage query asks every partition once, whatever the number of nodes and replicas,
// and says whether that was all.
func ExampleNode_Cover() {
	node, stop := start(counters)
	defer stop()
	ctx := context.Background()
	for i := range 30 {
		_, _ = node.Command(ctx, "counter", ringcore.Call{Key: fmt.Append(nil, "fruit", i%10)})
	}
	found, sum := 0, 0
	all, err := node.Cover(ctx, "counter", nil, ringcore.CoverOptions{}, func(it ringcore.CoverItem) error {
		n, err := strconv.Atoi(string(it.Item.Value))
		found, sum = found+1, sum+n
		return err
	})
	fmt.Println(found, sum, all.Complete, err)
	// Output: 10 30 true <nil>
}

// longest keeps the longest word that it was told, on three replicas: each of them may take
// commands, and Merge brings together what they made of them.
type longest struct{}

func (longest) Command(tx *ringcore.Tx, word []byte) ([]byte, error) {
	if have, _ := tx.Get(tx.Key()); len(word) > len(have) {
		tx.Put(tx.Key(), word)
	}
	return nil, nil
}

func (longest) Query(tx *ringcore.Tx, _ []byte) ([]byte, error) {
	word, _ := tx.Get(tx.Key())
	return word, nil
}

// Merge must not depend on the order: of two words of one length the greater stays. The
// record keeps the newer stamp.
func (longest) Merge(_ []byte, have, incoming ringcore.Record) ringcore.Record {
	r := have.Newer(incoming)
	r.Value = longer(have.Value, incoming.Value)
	return r
}

// Resolve is the same for the replies of several replicas to a query.
func (longest) Resolve(_ []byte, replies [][]byte) (word []byte, err error) {
	for _, r := range replies {
		word = longer(word, r)
	}
	return word, nil
}

func longer(a, b []byte) []byte {
	if len(b) > len(a) || len(b) == len(a) && string(b) > string(a) {
		return b
	}
	return a
}

func ExampleMerger() {
	node, stop := start(ringcore.Service{Name: "longest", N: 3, New: func(ringcore.Partition) ringcore.Vnode { return longest{} }})
	defer stop()
	ctx := context.Background()
	for _, word := range []string{"ring", "preference list", "vnode"} {
		if _, err := node.Command(ctx, "longest", ringcore.Call{Key: []byte("k"), Body: []byte(word)}); err != nil {
			fmt.Println(err)
		}
	}
	word, err := node.Query(ctx, "longest", ringcore.Call{Key: []byte("k")})
	fmt.Printf("%s %v\n", word, err)
	// Output: preference list <nil>
}

// session is a vnode with hooks: it is told when it begins to serve, when its state is about
// to move, which it may put off, and when it ends. Records need no hook: they are kept and
// moved without.
type session struct {
	counter
	busy bool
	told chan<- string
}

func (s *session) Opened(context.Context) error { s.told <- "opened"; return nil }

func (s *session) HandoffStarting(to ringcore.NodeID) error {
	if s.busy {
		return errors.New("in the midst of something") // it is asked again, later
	}
	return nil
}

func (s *session) Close() error { s.told <- "closed"; return nil }

func ExampleOpener() {
	told := make(chan string, 128)
	node, stop := start(ringcore.Service{Name: "sessions", N: 1, New: func(ringcore.Partition) ringcore.Vnode {
		return &session{told: told}
	}})
	_, err := node.Command(context.Background(), "sessions", ringcore.Call{Key: []byte("k")})
	fmt.Println(<-told, err)
	stop()
	fmt.Println(<-told)
	// Output:
	// opened <nil>
	// closed
}

// The errors of a node tell apart what a caller does about them.
func ExampleError() {
	act := func(err error) string {
		switch {
		case err == nil:
			return "done"
		case errors.Is(err, ringcore.ErrNotFound):
			return "there is none"
		case errors.Is(err, ringcore.ErrUnavailable), errors.Is(err, ringcore.ErrOverload):
			return "it surely did not run: try again, a little later"
		case errors.Is(err, ringcore.ErrMaybe), errors.Is(err, ringcore.ErrDeadline), errors.Is(err, ringcore.ErrQuorum):
			return "it may have run: read before you repeat it"
		}
		var e *ringcore.Error
		if errors.As(err, &e) {
			return "do not repeat it: " + e.Code.String()
		}
		return "not from the cluster"
	}
	node, stop := start(counters)
	defer stop()
	ctx := context.Background()
	_, err := node.Query(ctx, "counter", ringcore.Call{Key: []byte("plums")})
	fmt.Println(act(err))
	_, err = node.Query(ctx, "no-such-service", ringcore.Call{Key: []byte("plums")})
	fmt.Println(act(err))
	over, cancel := context.WithCancel(ctx)
	cancel()
	_, err = node.Command(over, "counter", ringcore.Call{Key: []byte("plums")})
	fmt.Println(act(err))
	// Output:
	// there is none
	// do not repeat it: bad_request
	// it may have run: read before you repeat it
}

// The key/value service is in every node; KV is it, without a door between.
func ExampleNode_KV() {
	node, stop := start()
	defer stop()
	ctx, store := context.Background(), node.KV()
	key := []byte("hello")
	fmt.Println(store.Put(ctx, "greetings", key, []byte("world"), kv.Options{}))
	obj, err := store.Get(ctx, "greetings", key, kv.Options{})
	fmt.Printf("%s %v\n", obj.Value, err)
	out, err := store.PutIf(ctx, "greetings", key, []byte("moon"), kv.IfAbsent, kv.Options{})
	fmt.Println(out.Applied, err)
	_, err = store.Get(ctx, "greetings", []byte("bye"), kv.Options{})
	fmt.Println(errors.Is(err, kv.ErrNotFound))
	// Output:
	// <nil>
	// world <nil>
	// false <nil>
	// true
}

// Properties of a bucket hold for the whole cluster: here concurrent values are kept side by
// side, and a write that hands back what a read has seen takes their place.
func ExampleNode_SetBucket() {
	node, stop := start()
	defer stop()
	ctx, store := context.Background(), node.KV()
	_, err := node.SetBucket(ctx, "carts", ringcore.BucketChange{Siblings: new(true)})
	fmt.Println(err)
	anna := []byte("anna")
	for _, cart := range []string{"milk", "eggs"} { // neither has seen the other
		if err := store.Put(ctx, "carts", anna, []byte(cart), kv.Options{}); err != nil {
			fmt.Println(err)
		}
	}
	both, _ := store.Get(ctx, "carts", anna, kv.Options{})
	fmt.Println(len(both.Siblings))
	_ = store.Put(ctx, "carts", anna, []byte("milk, eggs"), kv.Options{Context: both.Context})
	one, _ := store.Get(ctx, "carts", anna, kv.Options{})
	fmt.Printf("%s, %d siblings\n", one.Value, len(one.Siblings))
	// Output:
	// <nil>
	// 2
	// milk, eggs, 0 siblings
}

// A call says how many replicas must answer: a majority, unless it says otherwise. What
// cannot be met fails, and says by how much; it is never quietly less.
func ExampleQuorum() {
	node, stop := start(ringcore.Service{Name: "longest", N: 3, New: func(ringcore.Partition) ringcore.Vnode { return longest{} }})
	defer stop() // one node has one replica of each key, whatever N is
	for _, w := range []ringcore.Quorum{ringcore.One, ringcore.Majority, ringcore.All, 2} {
		_, err := node.Command(context.Background(), "longest", ringcore.Call{Key: []byte("k"), Body: []byte("word"), Quorum: w})
		fmt.Println(w, err)
	}
	// Output:
	// 1 <nil>
	// quorum <nil>
	// all <nil>
	// 2 quorum_not_met: w=2 cannot be met: asked 2 of 1 slot
}

// noted writes a newer form of its records when every member of the cluster can read it.
type noted struct{}

func (noted) Command(tx *ringcore.Tx, text []byte) ([]byte, error) {
	form := "plain: "
	if tx.Capability("notes.form") >= 2 {
		form = "rich: "
	}
	tx.Put(tx.Key(), append([]byte(form), text...))
	return []byte(form), nil
}

// Capabilities let nodes of different versions work together: what only new ones can do is
// used, by itself, when all can.
func ExampleCapability() {
	dir, err := os.MkdirTemp("", "ringcore-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, hold := range []map[string]int{{"notes.form": 1}, nil} {
		node, err := ringcore.Open(context.Background(), ringcore.Config{
			Dir: dir, Name: "n1", Addr: "127.0.0.1:0", HTTPAddr: "off", RESPAddr: "off", Logger: slog.New(slog.DiscardHandler), OneMachine: true,
			Services:     []ringcore.Service{{Name: "notes", N: 1, New: func(ringcore.Partition) ringcore.Vnode { return noted{} }}},
			Capabilities: []ringcore.Capability{{Name: "notes.form", Oldest: 1, Newest: 2}},
			Hold:         hold, // as the version before would be
		})
		if err != nil {
			log.Fatal(err)
		}
		if err := node.Ready(context.Background()); err != nil {
			log.Fatal(err)
		}
		reply, err := node.Command(context.Background(), "notes", ringcore.Call{Key: []byte("k"), Body: []byte("hello")})
		fmt.Printf("%d %s%v\n", node.Capability("notes.form"), reply, err)
		_ = node.Close()
	}
	// Output:
	// 1 plain: <nil>
	// 2 rich: <nil>
}

// Admin is the cluster's operation, as the command line and the HTTP API have it: changes
// are staged, looked at, and committed together.
func ExampleNode_Admin() {
	node, stop := start(counters)
	defer stop()
	ctx, cluster := context.Background(), node.Admin()
	members, err := cluster.Members(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range members {
		fmt.Println(m.Name, m.Status, m.Owned)
	}
	hash, err := cluster.Change(ctx, admin.ChangeRequest{Kind: "set", Node: "n1", Zone: new("rack-b")})
	if err != nil {
		log.Fatal(err)
	}
	plan, err := cluster.Plan(ctx)
	fmt.Println(plan.Changes[0].About, err)
	fmt.Println(cluster.CommitPlan(ctx, hash)) // refused if anything has changed since
	// Output:
	// n1 valid 64
	// zone of n1: "rack-b" <nil>
	// <nil>
}
