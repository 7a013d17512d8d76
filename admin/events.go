package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// Limits of event streams.
const (
	maxStreams     = 64
	streamBeat     = 15 * time.Second // a comment, so that a dead connection is noticed
	streamDeadline = 10 * time.Second // for the other end to take one event
)

// getEvents streams events until the other end goes, the server closes or the
// node ends the subscription. A client that lags is cut off and comes back by itself,
// as server-sent events do; it should then read the views again.
func (a *api) getEvents(w http.ResponseWriter, r *http.Request) {
	s, ok := a.openStream(w, r)
	if !ok {
		return
	}
	defer a.closeStream()
	events := a.node.Events(r.Context())
	if s.send("retry: 2000\n\n") != nil {
		return
	}
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case e, open := <-events:
			if !open {
				return
			}
			err = s.event(e)
		case <-beat.C:
			err = s.send(": still here\n\n")
		case <-closing(r):
			return
		}
		if err != nil {
			a.log.Debug("event stream ended", "peer", r.RemoteAddr, "err", err)
			return
		}
	}
}

// openStream begins an event stream, or says that there are too many. closeStream must follow.
func (a *api) openStream(w http.ResponseWriter, r *http.Request) (s stream, ok bool) {
	select {
	case a.streams <- struct{}{}:
	default:
		problem.Write(w, r, wire.Errorf(wire.Overload, "%d event streams are open already", maxStreams))
		return stream{}, false
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	return stream{w: w, rc: http.NewResponseController(w)}, true
}

// closeStream gives its place back.
func (a *api) closeStream() { <-a.streams }

// stream writes one event stream.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (s stream) event(e Event) error {
	data, err := json.Marshal(e.Data)
	if err != nil {
		return fmt.Errorf("encode %s event: %w", e.Type, err)
	}
	return s.send(fmt.Sprintf("event: %s\ndata: %s\n\n", e.Type, data))
}

// send writes text at once and gives the other end streamDeadline to take it.
func (s stream) send(text string) error {
	_ = s.rc.SetWriteDeadline(time.Now().Add(streamDeadline)) // fails only without a connection
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.rc.Flush()
}
