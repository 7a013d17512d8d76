package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// RecordBlocks is the content type of a row of blocks; see wire.BlockWriter.
const RecordBlocks = "application/vnd.ringcore.records"

// Bounds of what backup and restore carry.
const (
	MaxRestoreBody    = 16 << 20 // bytes of records in a POST /v1/restore/{service}/{partition}
	maxKnown          = 64 << 10 // bytes of a hash tree
	backupWriteLength = time.Minute
)

// BackupView is the answer to GET /v1/backup: what a backup is made of, and must know of
// the cluster.
type BackupView struct {
	ClusterID  string                      `json:"cluster_id"`
	Time       time.Time                   `json:"time"` // what was acknowledged before is in a backup that begins now
	Version    string                      `json:"version"`
	Epoch      uint64                      `json:"epoch"`
	Partitions int                         `json:"partitions"`
	Replicas   int                         `json:"replicas"`
	Services   []BackupService             `json:"services"` // by name
	Buckets    map[string]wire.BucketProps `json:"buckets"`
}

// BackupService is a service whose records can be backed up.
type BackupService struct {
	Name     string `json:"name"`
	Replicas int    `json:"replicas"`
}

// Restored is the answer to POST /v1/restore/{service}/{partition}.
type Restored struct {
	Records int64 `json:"records"`
}

// Backups reads the records of all services for a backup, and takes them back.
type Backups interface {
	Backup(ctx context.Context) (BackupView, error)
	// Fold reads a partition's records for a backup that has the hash tree known already,
	// nothing if that is empty. begin is told in which leaves of it they lie, then emit of
	// each, in key order. What either is given is valid only during the call.
	Fold(ctx context.Context, service string, partition int, known []byte, begin func(leaves []byte) error, emit func(*wire.Item) error) error
	// Restore stores the records that next returns until io.EOF, from that partition of a
	// ring of so many, in the order of their keys, and returns when all are durable on a
	// majority of their replicas. An item is valid until the next one.
	Restore(ctx context.Context, service string, partition, of int, next func() (wire.Item, error)) (Restored, error)
}

func (a *api) backupRoutes() []route {
	return []route{
		{"GET", "/v1/backup", "what a backup is made of", a.getBackup},
		{"POST", "/v1/backup/{service}/{partition}", "the partition's records, for a backup; the body is the hash tree of those it has, or nothing", a.postBackup},
		{"POST", "/v1/restore/{service}/{partition}", "?of=64: stores the records of a partition of a ring of 64, 16 MiB at most", a.postRestore},
	}
}

func (a *api) getBackup(w http.ResponseWriter, r *http.Request) {
	view, err := a.node.Backup(r.Context())
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	view.Services = orEmpty(view.Services)
	writeJSON(w, http.StatusOK, view)
}

// postBackup streams a partition's records. An error before the first byte is a problem
// document; a later one is the last block.
func (a *api) postBackup(w http.ResponseWriter, r *http.Request) {
	p, err := strconv.Atoi(r.PathValue("partition"))
	if err != nil {
		problem.Write(w, r, wire.Errorf(wire.BadRequest, "%q is no partition: write its number", r.PathValue("partition")))
		return
	}
	known, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxKnown))
	if err != nil {
		problem.Write(w, r, wire.Errorf(wire.BadRequest, "read the hash tree: %v", err))
		return
	}
	setReadDeadline(w, time.Time{})
	out := wire.NewBlockWriter(patientWriter{w, http.NewResponseController(w)})
	begun := false
	err = a.node.Fold(r.Context(), r.PathValue("service"), p, known, func(leaves []byte) error {
		begun = true
		w.Header().Set("Content-Type", RecordBlocks)
		w.Header().Set("Cache-Control", "no-store")
		return out.Block(wire.BlockLeaves, leaves)
	}, out.Item)
	switch {
	case err == nil:
		_ = out.End() // the caller has gone: nothing to do about it
	case !begun:
		problem.Write(w, r, err)
	default:
		if body, jsonErr := json.Marshal(problem.From(err)); jsonErr == nil {
			_ = out.Block(wire.BlockError, body)
		}
	}
}

// patientWriter gives each write some time of its own, so that a stream may take long,
// and a caller who reads nothing may not.
type patientWriter struct {
	io.Writer
	rc *http.ResponseController
}

func (p patientWriter) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(backupWriteLength)) // not every ResponseWriter can
	return p.Writer.Write(b)
}

func (a *api) postRestore(w http.ResponseWriter, r *http.Request) {
	p, err := strconv.Atoi(r.PathValue("partition"))
	of, errOf := strconv.Atoi(r.URL.Query().Get("of"))
	if err != nil || errOf != nil {
		problem.Write(w, r, wire.Errorf(wire.BadRequest, "a partition and ?of= are numbers: the partition that the records were in, and of how many"))
		return
	}
	in := wire.NewBlockReader(http.MaxBytesReader(w, r.Body, MaxRestoreBody))
	done, err := a.node.Restore(r.Context(), r.PathValue("service"), p, of, func() (wire.Item, error) {
		it, err := in.Item(nil)
		if err == io.EOF {
			setReadDeadline(w, time.Time{}) // what follows may take longer than the body was given
		}
		return it, err
	})
	tooLong, ok := errors.AsType[*http.MaxBytesError](err)
	switch {
	case ok:
		err = wire.Errorf(wire.TooLarge, "the records are longer than %d bytes: send fewer at a time", tooLong.Limit)
	case errors.Is(err, wire.ErrBlocks):
		err = wire.Errorf(wire.BadRequest, "the records: %v", err)
	}
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, done)
}
