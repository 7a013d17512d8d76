package typed_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"testing"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/ringcoretest"
	"github.com/ringcore/ringcore/typed"
	"github.com/ringcore/ringcore/vnodes/vnodetest"
)

// account is what the vnode of the tests keeps under a name.
type account struct{ Balance int }

type (
	deposit struct{ Amount int }
	above   struct{ Least int }
)

var (
	pay     = typed.Command[deposit, account]{Service: "bank", Name: "pay"}
	forget  = typed.Command[struct{}, bool]{Service: "bank", Name: "forget"}
	balance = typed.Query[struct{}, account]{Service: "bank", Name: "balance"}
	rich    = typed.Cover[above, int]{Service: "bank", Name: "rich"}

	accounts typed.Records[account]
)

func bank() ringcore.Service {
	return ringcore.Service{Name: "bank", N: 1, New: func(ringcore.Partition) ringcore.Vnode {
		return typed.Methods{pay.By(onPay), forget.By(onForget), balance.By(onBalance), rich.By(onRich)}
	}}
}

func onPay(tx *ringcore.Tx, d deposit) (account, error) {
	a, _, err := accounts.Get(tx, tx.Key())
	if err != nil {
		return a, err
	}
	if a.Balance += d.Amount; a.Balance < 0 {
		return a, ringcore.Errorf(ringcore.CodeRefused, "%s has only %d", tx.Key(), a.Balance-d.Amount)
	}
	return a, accounts.Put(tx, tx.Key(), a)
}

func onForget(tx *ringcore.Tx, _ struct{}) (bool, error) {
	_, had := tx.Get(tx.Key())
	tx.Delete(tx.Key())
	return had, nil
}

func onBalance(tx *ringcore.Tx, _ struct{}) (account, error) {
	a, ok, err := accounts.Get(tx, tx.Key())
	if err == nil && !ok {
		err = ringcore.Errorf(ringcore.CodeNotFound, "no account of %s", tx.Key())
	}
	return a, err
}

func onRich(least above, _ []byte, r ringcore.Record) (int, bool, error) {
	a, err := accounts.Parse(r.Value)
	return a.Balance, a.Balance >= least.Least, err
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestTypedMethodsAreAVnode(t *testing.T) {
	vnodetest.Run(t, bank(), vnodetest.Inputs{
		Commands: []ringcore.Call{
			must(pay.Call("ann", deposit{5})), must(pay.Call("ann", deposit{-9})), must(pay.Call("bob", deposit{2})),
			must(forget.Call("ann", struct{}{})), must(pay.Call("ann", deposit{7})),
		},
		Queries: []ringcore.Call{must(balance.Call("ann", struct{}{})), must(balance.Call("carl", struct{}{}))},
		Covers:  [][]byte{must(rich.Body(above{3}))},
	})
}

// At a node and through a client alike: replies and errors are typed, a stale item of a
// coverage query is none, and what one side does not know is said.
func TestTypedCalls(t *testing.T) {
	c := ringcoretest.Start(t, 2, ringcore.Config{Services: []ringcore.Service{bank()}, WithoutKV: true})
	cl, err := client.Open(t.Context(), client.Config{Addrs: []string{c.Node(1).Info().Addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for who, on := range map[string]typed.Caller{"node": c.Node(0), "client": typed.Client(cl)} {
		t.Run(who, func(t *testing.T) { callAll(t, on, who) })
	}
}

func callAll(t *testing.T, on typed.Caller, who string) {
	ctx := t.Context()
	if a, err := pay.Do(ctx, on, who, deposit{5}); err != nil || a.Balance != 5 {
		t.Fatalf("pay: %v, %v", a, err)
	}
	if _, err := pay.Do(ctx, on, who, deposit{-6}); !errors.Is(err, ringcore.ErrRefused) {
		t.Errorf("overdraw: %v, want refused", err)
	}
	if a, err := balance.Do(ctx, on, who, struct{}{}); err != nil || a.Balance != 5 {
		t.Errorf("balance: %v, %v", a, err)
	}
	if _, err := balance.Do(ctx, on, "nobody", struct{}{}); !errors.Is(err, ringcore.ErrNotFound) {
		t.Errorf("balance of nobody: %v, want not found", err)
	}
	all, err := rich.All(ctx, on, above{5})
	if err != nil || len(all) != 1 || all[0].Key != who || all[0].Value != 5 {
		t.Errorf("rich: %v, %v", all, err)
	}
	older := typed.Query[struct{}, account]{Service: "bank", Name: "interest"}
	var e *ringcore.Error
	if _, err := older.Do(ctx, on, who, struct{}{}); !errors.As(err, &e) || e.Code.String() != "not_supported" {
		t.Errorf("a query that the vnode does not have: %v", err)
	}
	wrong := typed.Command[string, account]{Service: "bank", Name: "pay"}
	if _, err := wrong.Do(ctx, on, who, "five"); !errors.As(err, &e) || e.Code != ringcore.CodeBadRequest {
		t.Errorf("arguments of another type: %v", err)
	}
	if had, err := forget.Do(ctx, on, who, struct{}{}); err != nil || !had {
		t.Errorf("forget: %v, %v", had, err)
	}
}

// gobs is a codec of somebody's own.
type gobs struct{}

func (gobs) Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func (gobs) Unmarshal(data []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}

// A replicated service whose newest record wins: blind writes, a codec of its own, a
// reply made of those of several replicas; and its records outlive a node.
func TestTypedBlindCommandsWithReplicas(t *testing.T) {
	type note struct {
		Text string
		Time uint64
	}
	write := typed.Command[string, struct{ X int }]{Service: "notes", Name: "write", Blind: true, Codec: gobs{}}
	read := typed.Query[struct{ X int }, note]{Service: "notes", Name: "read", Codec: gobs{}}
	v := &notes{read: func(replies [][]byte) ([]byte, error) {
		return read.Resolve(replies, func(a, b note) note {
			if a.Time > b.Time {
				return a
			}
			return b
		})
	}}
	v.Methods = typed.Methods{
		write.By(func(tx *ringcore.Tx, text string) (struct{ X int }, error) {
			tx.Put(tx.Key(), []byte(text))
			return struct{ X int }{}, nil
		}),
		read.By(func(tx *ringcore.Tx, _ struct{ X int }) (note, error) {
			r, _ := tx.Record(tx.Key())
			return note{string(r.Value), r.Stamp.Time}, nil
		}),
	}
	c := ringcoretest.Start(t, 3, ringcore.Config{WithoutKV: true, Services: []ringcore.Service{
		{Name: "notes", N: 3, New: func(ringcore.Partition) ringcore.Vnode { return v }},
	}})
	for _, text := range []string{"first", "second"} {
		if _, err := write.Do(t.Context(), c.Node(0), "k", text); err != nil {
			t.Fatal(err)
		}
	}
	c.Stop(c.Node(0))
	for _, n := range c.Nodes() {
		if got, err := read.Do(context.WithoutCancel(t.Context()), n, "k", struct{ X int }{}); err != nil || got.Text != "second" {
			t.Errorf("read at %s: %v, %v", n.Info().Name, got, err)
		}
	}
}

type notes struct {
	typed.BlindMethods
	read func([][]byte) ([]byte, error)
}

func (v *notes) Resolve(_ []byte, replies [][]byte) ([]byte, error) { return v.read(replies) }
