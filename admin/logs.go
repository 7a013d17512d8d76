package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Logs let the node's log be followed.
type Logs interface {
	// Logs is LogTail.Follow of the node's log.
	Logs(ctx context.Context, since uint64) ([]LogEntry, <-chan LogEntry)
}

// getLogs streams the entries that are kept, then each new one, as server-sent events. A
// client that comes back says in Last-Event-ID what it has.
func (a *api) getLogs(w http.ResponseWriter, r *http.Request) {
	s, ok := a.openStream(w, r)
	if !ok {
		return
	}
	defer a.closeStream()
	since, _ := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64) // 0, for all, if it is anything else
	if err := a.followLogs(r, s, since); err != nil {
		a.log.Debug("log stream ended", "peer", r.RemoteAddr, "err", err)
	}
}

func (a *api) followLogs(r *http.Request, s stream, since uint64) error {
	kept, more := a.node.Logs(r.Context(), since)
	if err := s.send("retry: 2000\n\n"); err != nil {
		return err
	}
	for i := range kept {
		if err := s.entry(&kept[i]); err != nil {
			return err
		}
	}
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case e, open := <-more:
			if !open {
				return nil
			}
			err = s.entry(&e)
		case <-beat.C:
			err = s.send(": still here\n\n")
		case <-closing(r):
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s stream) entry(e *LogEntry) error {
	e.Attrs = orEmpty(e.Attrs)
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode a log entry: %w", err)
	}
	return s.send(fmt.Sprintf("id: %d\nevent: log\ndata: %s\n\n", e.Seq, data))
}
