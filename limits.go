package ringcore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata"
)

// endedShown is how many transfers that have ended /v1/transfers tells.
const endedShown = 100

// limits are what transfers may take now.
func (c *core) limits() admin.LimitsView {
	st := c.meta.State()
	v := admin.LimitsView{Limits: admin.Limits(st.LimitsOf(""))}
	for id, own := range st.NodeLimits {
		if m, ok := st.Member(id); ok && !m.Gone() {
			if v.Nodes == nil {
				v.Nodes = make(map[string]admin.Limits)
			}
			v.Nodes[m.Name] = admin.Limits(own)
		}
	}
	return v
}

// rates are the bytes a second that this node may receive and send; less than 1 for
// as many as it can.
func (c *core) rates() (in, out int64) {
	l := c.meta.State().LimitsOf(c.self.ID)
	return l.BytesIn, l.BytesOut
}

// SetLimits changes what transfers may take, of a node or of all.
func (v view) SetLimits(ctx context.Context, req admin.LimitsRequest) (admin.LimitsView, error) {
	c, err := v.core()
	if err != nil {
		return admin.LimitsView{}, err
	}
	var node NodeID
	if req.Node != "" {
		m, err := c.member(req.Node)
		if err != nil {
			return admin.LimitsView{}, err
		}
		node = m.ID
	}
	if err := c.meta.Propose(ctx, metadata.SetLimits(node, metadata.Limits(req.Limits), req.Reset)); err != nil {
		return admin.LimitsView{}, err
	}
	return c.limits(), nil
}

// AbortTransfer gives an open session up.
func (v view) AbortTransfer(ctx context.Context, req admin.AbortRequest) error {
	c, err := v.core()
	if err != nil {
		return err
	}
	return c.abort(ctx, req.Session, cmp.Or(req.Reason, "an operator has asked for it"))
}

func (c *core) abort(ctx context.Context, session, reason string) error {
	open := c.meta.State().Transfers
	i := slices.IndexFunc(open, func(t metadata.Transfer) bool { return t.ID == session })
	if i < 0 {
		return wire.Errorf(wire.NotFound, "transfer %s is not under way", session)
	}
	return c.meta.Propose(ctx, metadata.Abort(&open[i], reason))
}

// endedTransfers are those that have ended last, the newest first.
func (c *core) endedTransfers() []admin.EndedView {
	st := c.meta.State()
	all := []admin.EndedView{}
	for _, e := range slices.Backward(st.Ended) {
		if len(all) == endedShown {
			break
		}
		v := admin.EndedView{
			Session: e.ID, Kind: string(e.Kind), Partition: int(e.Partition), Slot: e.Slot, From: c.name(e.From), To: c.name(e.To),
			Outcome: "aborted", Reason: e.Reason, Records: e.Records, Bytes: e.Bytes,
		}
		if e.Committed {
			v.Outcome = "committed"
		}
		if e.Since > 0 && e.Until > 0 { // else they ended before times were noted
			v.Started, v.Ended = time.UnixMilli(e.Since).UTC(), time.UnixMilli(e.Until).UTC()
			v.Seconds = float64(max(e.Until-e.Since, 0)) / 1000
		}
		all = append(all, v)
	}
	return all
}
