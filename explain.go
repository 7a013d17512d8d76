package ringcore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// previewBytes is how much of a value an explanation shows.
const previewBytes = 120

// copiesAsk is the JSON body of OpCopies.
type copiesAsk struct {
	Bucket string `json:"bucket"`
	Key    []byte `json:"key"`
}

// serveCopies answers from a goroutine: files may have to be read.
func (c *core) serveCopies(r *dataplane.Request) {
	var ask copiesAsk
	switch err := json.Unmarshal(r.Body, &ask); {
	case r.From == "":
		r.Reply(wire.Refused, c.epoch(), []byte("only nodes may ask this"))
		return
	case err != nil:
		r.Reply(wire.BadRequest, c.epoch(), []byte(err.Error()))
		return
	}
	if !c.spawn(func() {
		body, err := json.Marshal(c.ownCopies(&ask))
		c.answer(r, body, err)
	}) {
		r.Reply(wire.ShuttingDown, c.epoch(), nil)
	}
}

// ownCopies is what this node holds of a key; nodes are named by their ids.
func (c *core) ownCopies(ask *copiesAsk) []admin.CopyView {
	r := c.meta.Ring()
	p := ring.Locate(ring.HashKey(ask.Bucket, ask.Key), r.Q())
	views := []admin.CopyView{}
	for _, x := range c.vnodes.Copies(codec.Service, p, codec.RecordKey(ask.Bucket, ask.Key)) {
		cv := admin.CopyView{Slot: -1, For: string(x.For), State: x.State}
		if x.For == "" {
			cv.Slot = r.Place(p, c.self.ID)
		}
		switch {
		case x.Err != nil:
			cv.Error = x.Err.Error()
		case x.Record != nil:
			describe(&cv, x.Record, uint64(max(c.clocks.Now().UnixMilli(), 0)))
		}
		views = append(views, cv)
	}
	return views
}

// describe enters a record's version and values.
func describe(cv *admin.CopyView, r *vnodes.Record, nowMS uint64) {
	cv.Found, cv.Deleted, cv.Bytes = true, r.Deleted(), len(r.Value)
	cv.By = fmt.Sprintf("%016x", r.Stamp.Node)
	cv.Written = new(time.UnixMilli(int64(r.Stamp.Time >> 16)).UTC())
	cv.Version = fmt.Sprintf("%x-%x", r.Stamp.Time, crc32.ChecksumIEEE(fmt.Appendf(r.Value[:len(r.Value):len(r.Value)], "%x %x %d", r.Stamp.Node, r.Stamp.ID, r.Flags)))
	s := codec.Stored{Stamp: r.Stamp, Deleted: r.Deleted(), Value: r.Value}
	o, err := s.Object()
	if err != nil {
		cv.Error = err.Error()
		return
	}
	for _, e := range o.Values() {
		vv := admin.ValueView{Bytes: len(e.Value), Expired: e.Expired(nowMS)}
		if e.Expires != 0 {
			vv.Expires = new(codec.ExpiryTime(e.Expires).UTC())
		}
		vv.Preview, vv.Text, vv.Cut = preview(e.Value)
		cv.Values = append(cv.Values, vv)
	}
}

// preview is the beginning of a value, for people.
func preview(value []byte) (text string, isText, isCut bool) {
	head := value[:min(len(value), previewBytes)]
	isCut = len(head) < len(value)
	for isCut && len(head) > previewBytes-utf8.UTFMax && !utf8.Valid(head) {
		head = head[:len(head)-1] // a character that was cut through
	}
	control := func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f }
	if !utf8.Valid(head) || bytes.ContainsFunc(head, control) {
		head = value[:min(len(value), previewBytes/2)]
		return hex.EncodeToString(head), false, len(head) < len(value)
	}
	return string(head), true, isCut
}

// Explain tells of a key where it belongs, and what each node holds of it now.
func (v view) Explain(ctx context.Context, bucket string, key []byte) (admin.ExplainView, error) {
	c, err := v.core()
	if err != nil {
		return admin.ExplainView{}, err
	}
	if err := codec.CheckKey(bucket, key); err != nil {
		return admin.ExplainView{}, err
	}
	if v.n.cfg.WithoutKV {
		return admin.ExplainView{}, wire.Errorf(wire.Refused, "this node has no key/value service")
	}
	r, hash := c.meta.Ring(), ring.HashKey(bucket, key)
	p := ring.Locate(hash, r.Q())
	ev := admin.ExplainView{
		Bucket: bucket, Key: string(key), Hash: hex.EncodeToString(hash[:]), Epoch: uint64(r.Epoch),
		Partition: int(p), Index: p.Index(r.Q()), Gen: uint64(r.Assignments[p].Gen),
	}
	if ev.Preflist, err = v.Preflist(ctx, bucket, key, 0); err != nil {
		return ev, err
	}
	if ev.Props, err = v.Bucket(ctx, bucket); err != nil {
		return ev, err
	}
	ask := copiesAsk{Bucket: bucket, Key: key}
	body, err := json.Marshal(&ask)
	if err != nil {
		return ev, err
	}
	held := askOthers[[]admin.CopyView](ctx, c, wire.OpCopies, body...)
	held[c.self.ID] = c.ownCopies(&ask)
	ev.Copies = c.copyViews(r.Assignments[p].Replicas, held)
	ev.Agree, ev.Verdict = verdict(ev.Copies)
	return ev, nil
}

// copyViews are the copies in the slots' order, those that are not known too, then hints.
func (c *core) copyViews(slots []ring.Replica, held map[ring.NodeID][]admin.CopyView) []admin.CopyView {
	name := func(id string) string {
		if id == "" {
			return ""
		}
		return c.name(ring.NodeID(id))
	}
	all := []admin.CopyView{}
	for i, x := range slots {
		if slices.ContainsFunc(held[x.Node], func(cv admin.CopyView) bool { return cv.For == "" }) {
			continue
		}
		why := "it did not answer"
		if !c.live.Up(x.Node) {
			why = "it cannot be reached"
		} else if _, said := held[x.Node]; said {
			why = "it does not know yet that it has a slot"
		}
		all = append(all, admin.CopyView{Node: c.name(x.Node), Slot: i, Error: why})
	}
	for _, id := range slices.Sorted(maps.Keys(held)) {
		for _, cv := range held[id] {
			if cv.For != "" && !cv.Found && cv.Error == "" {
				continue // hints of other keys
			}
			cv.Node, cv.For, cv.By = c.name(id), name(cv.For), name(cv.By)
			all = append(all, cv)
		}
	}
	slices.SortStableFunc(all, func(a, b admin.CopyView) int { return cmp.Compare(uint(a.Slot), uint(b.Slot)) })
	return all
}

// verdict says of copies whether they agree, and what becomes of it if they do not.
func verdict(copies []admin.CopyView) (agree bool, words string) {
	versions := map[string]int{}
	slots, unknown, hints, values := 0, 0, 0, 0
	deleted := false
	for _, x := range copies {
		switch {
		case x.For != "":
			hints++
			continue
		case x.Error != "":
			unknown++
		default:
			versions[x.Version]++
			deleted = deleted || x.Deleted
			values = max(values, len(x.Values))
		}
		slots++
	}
	switch {
	case slots == unknown:
		return false, "No replica could be asked, so it is not known whether the key exists."
	case len(versions) > 1:
		words = "The replicas do not hold the same. A read merges them, and the next comparison makes them equal."
	case versions[""] > 0:
		words = "No replica that answered has ever heard of this key, or it was deleted long ago."
	case deleted:
		words = fmt.Sprintf("The key was deleted: %s.", same(slots-unknown, "a tombstone"))
	case values > 1:
		words = fmt.Sprintf("The key has %d siblings: %s.", values, same(slots-unknown, "them"))
	default:
		words = fmt.Sprintf("The key exists: %s.", same(slots-unknown, "the same version"))
	}
	if unknown > 0 {
		words += fmt.Sprintf(" %d of %d replicas could not be asked.", unknown, slots)
	}
	if hints > 0 {
		words += fmt.Sprintf(" Hints of it wait for their owner: %d.", hints)
	}
	return unknown == 0 && len(versions) == 1, words
}

func same(n int, what string) string {
	if n == 1 {
		return "its one replica that answered holds " + what
	}
	return fmt.Sprintf("%d replicas hold %s", n, what)
}
