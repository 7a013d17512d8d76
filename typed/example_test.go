package typed_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/typed"
)

// What is kept of a player, what a game may say and be asked, and what it answers.
type (
	player struct{ Points int }
	score  struct{ Points int }
)

var (
	scored  = typed.Command[score, player]{Service: "game", Name: "scored"}
	points  = typed.Query[struct{}, int]{Service: "game", Name: "points"}
	leaders = typed.Cover[score, int]{Service: "game", Name: "leaders"} // who has as many points, or more
	players typed.Records[player]
)

func onScored(tx *ringcore.Tx, s score) (player, error) {
	p, _, err := players.Get(tx, tx.Key()) // the zero player if there is none
	if err != nil {
		return p, err
	}
	p.Points += s.Points
	return p, players.Put(tx, tx.Key(), p)
}

func onPoints(tx *ringcore.Tx, _ struct{}) (int, error) {
	p, ok, err := players.Get(tx, tx.Key())
	if err == nil && !ok {
		err = ringcore.Errorf(ringcore.CodeNotFound, "%s does not play", tx.Key())
	}
	return p.Points, err
}

func onLeaders(least score, _ []byte, r ringcore.Record) (int, bool, error) {
	p, err := players.Parse(r.Value)
	return p.Points, p.Points >= least.Points, err
}

func game() ringcore.Service {
	return ringcore.Service{Name: "game", N: 1, New: func(ringcore.Partition) ringcore.Vnode {
		return typed.Methods{scored.By(onScored), points.By(onPoints), leaders.By(onLeaders)}
	}}
}

func Example() {
	dir, err := os.MkdirTemp("", "ringcore-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	node, err := ringcore.Open(ctx, ringcore.Config{
		Dir: dir, Addr: "127.0.0.1:0", HTTPAddr: "off", WithoutKV: true, OneMachine: true,
		Services: []ringcore.Service{game()}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()

	for _, who := range []string{"ann", "bob", "ann"} {
		p, err := scored.Do(ctx, node, who, score{Points: 10})
		fmt.Println(who, p.Points, err)
	}
	_, err = points.Do(ctx, node, "carl", struct{}{})
	fmt.Println(errors.Is(err, ringcore.ErrNotFound))
	best, err := leaders.All(ctx, node, score{Points: 15})
	fmt.Println(best[0].Key, best[0].Value, len(best), err)
	// Output:
	// ann 10 <nil>
	// bob 10 <nil>
	// ann 20 <nil>
	// true
	// ann 20 1 <nil>
}
