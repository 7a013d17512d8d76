package vnodes

// Stamps that are ahead of the time. A clock that was wrong, or one that was set back
// since, has left records that are. Nobody's clock follows them, so that they do not
// spread; what replaces one is stamped just above it, and the replicas take it, because
// its coordinator says that this is why. What they refuse is a coordinator's clock.

// lowest is what a write's stamp must be above: what it replaces here, what another
// replica is known to hold, and the floor, below which no replica takes a new record.
func (v *vnode) lowest(have Stamp, above uint64) Stamp {
	have.Time = max(have.Time, above, v.tooOld(newWrite))
	return have
}

// ahead reports whether one of the writes just stamped counts on from something newer
// than this node's time.
func (v *vnode) ahead(writes []Write) bool {
	now := clockTime(v.m.now())
	for i := range writes {
		if writes[i].Record.Stamp.Time > now {
			return true
		}
	}
	return false
}

// retract is to be called when the other replicas refuse the times of what the command has
// written, because this node's clock is ahead of theirs: what of it is still here is stamped
// anew, with the same id, just above what it has replaced. So it is as new as it can be without
// hiding what others write, and the same write that another coordinator makes is newer.
func (x *running) retract() {
	x.v.post(func(v *vnode) { v.retract(x.tx.writes, x.tx.replaced) })
}

// retract does it. Worker only.
func (v *vnode) retract(writes []Write, replaced []Stamp) {
	var changed []Write
	for i, w := range writes {
		have, ok, err := v.store.Latest(w.Key)
		if err != nil || !ok || have.Stamp != w.Record.Stamp {
			continue // a newer write has come meanwhile
		}
		w.Record.Stamp.Time = v.lowest(replaced[i], 0).Time + 1
		changed = append(changed, w)
	}
	v.append(changed, func(err error) {
		if err != nil {
			v.m.log.Warn("writes that are ahead of the time not stamped anew", "partition", v.id.partition, "items", len(changed), "err", err)
		}
	})
}
