package ringcore

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Survey is what Recover finds and would do.
type Survey struct {
	Name, Dir  string
	ClusterID  string
	Generation uint64     // that the cluster would begin
	Epoch      uint64     // of the metadata that it would go on from
	Members    []Survivor // that have not left
}

// Survivor is a member as Recover finds it.
type Survivor struct {
	Name, Addr string
	Voter      bool // at present
	Self       bool
	Answers    bool
	Epoch      uint64 // that it knows, if it answers
}

// surveyTimeout bounds the question to each member; all are asked at once.
const surveyTimeout = 2 * time.Second

// Recover makes the cluster of the stopped node in dir anew after the majority of
// raft's voters was lost: with all its members and data, and this node as the only
// voter, under the next generation. Nodes that still run follow when they hear of it.
// With commit false it only looks. It is refused while a majority of the voters
// answers, and if another node knows newer metadata.
func Recover(ctx context.Context, dir string, commit bool) (Survey, error) {
	d, err := openDir(dir)
	if err != nil {
		return Survey{}, err
	}
	survey, err := d.recover(ctx, commit)
	return survey, errors.Join(err, d.close())
}

func (d *dataDir) recover(ctx context.Context, commit bool) (Survey, error) {
	id, err := d.load()
	if err != nil {
		return Survey{}, err
	}
	switch {
	case id.ClusterID == "" || id.Join != nil:
		return Survey{}, wire.Errorf(wire.Refused, "%s holds no node that belongs to a cluster", d.path)
	case id.Left:
		return Survey{}, wire.Errorf(wire.Refused, "node %s has left its cluster: recover on another node", id.Name)
	case id.Outlived != "":
		return Survey{}, wire.Errorf(wire.Refused, "the cluster was recovered on another node already: %s", id.Outlived)
	}
	folder := d.cluster(id.ClusterID)
	st, err := metadata.Load(folder)
	if err != nil {
		return Survey{}, err
	}
	if st == nil {
		return Survey{}, wire.Errorf(wire.Refused, "%s holds no metadata of cluster %s: recover on another node", d.path, id.ClusterID)
	}
	next, err := metadata.Recovered(st, id.NodeID)
	if err != nil {
		return Survey{}, err
	}
	survey := Survey{Name: id.Name, Dir: d.path, ClusterID: id.ClusterID, Generation: next.Generation().N, Epoch: uint64(st.Epoch)}
	found := askMembers(ctx, st, id.NodeID, openBook(filepath.Join(folder, "peers.json"), slog.New(slog.DiscardHandler)))
	voters, alive := 0, 0
	var refusal error
	for _, m := range st.Members {
		if m.Gone() {
			continue
		}
		i, answers := found[m.ID]
		s := Survivor{Name: m.Name, Addr: m.Addr, Voter: m.Voter, Self: m.ID == id.NodeID, Answers: answers, Epoch: i.Epoch}
		if survey.Members = append(survey.Members, s); m.Voter {
			voters++
			if answers || s.Self {
				alive++
			}
		}
		switch {
		case i.Generation.N > st.Generation().N:
			refusal = wire.Errorf(wire.Refused, "the cluster was recovered already, as %s says: start this node, and it follows", m.Name)
		case refusal == nil && i.Epoch > uint64(st.Epoch):
			refusal = wire.Errorf(wire.Refused, "%s knows changes up to epoch %d, this node up to %d: recover there, so that none is lost", m.Name, i.Epoch, st.Epoch)
		}
	}
	if refusal == nil && alive > voters/2 {
		refusal = wire.Errorf(wire.Refused, "%d of %d voters are there, this one counted: that is a majority, and nothing is lost; start this node", alive, voters)
	}
	if refusal != nil || !commit {
		return survey, refusal
	}
	return survey, metadata.Found(folder, next)
}

// askMembers asks the other members of st who they are, all at once.
func askMembers(ctx context.Context, st *metadata.State, self ring.NodeID, book *addressBook) map[ring.NodeID]wire.Introduction {
	ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
	defer cancel()
	type answer struct {
		id ring.NodeID
		i  wire.Introduction
	}
	answers := make(chan answer)
	asked := 0
	for _, m := range st.Members {
		if m.ID == self || m.Gone() {
			continue
		}
		asked++
		addrs := []string{m.Addr}
		if i, ok := book.get(m.ID); ok && i.Addr != m.Addr {
			addrs = append(addrs, i.Addr)
		}
		go func() { answers <- answer{m.ID, introducedAt(ctx, addrs, st.ClusterID, m.ID)} }()
	}
	found := make(map[ring.NodeID]wire.Introduction)
	for range asked {
		if a := <-answers; a.i.NodeID != "" {
			found[a.id] = a.i
		}
	}
	return found
}

// introducedAt is what the member id says at the first of addrs where it is.
func introducedAt(ctx context.Context, addrs []string, cluster string, id ring.NodeID) wire.Introduction {
	for _, addr := range addrs {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			continue
		}
		i, err := introduceTo(ctx, addr, dataplane.Identity{}, wire.Introduction{})
		if err == nil && i.ClusterID == cluster && i.NodeID == string(id) {
			return i
		}
	}
	return wire.Introduction{}
}
