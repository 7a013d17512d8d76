package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ringcore/ringcore"
)

// openFailure makes one line and a hint of why a node does not run. A start that
// was interrupted is no failure: it ends as every stop does.
func openFailure(ctx context.Context, cfg *ringcore.Config, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	f := &failure{code: exitFailed, err: fmt.Errorf("start the node in %s: %w", cfg.Dir, err)}
	switch _, left := traces(cfg.Dir); {
	case left:
		f.code, f.hint = exitRefused, "choose another --data-dir, or remove this one, and join again as a new node"
	case errors.Is(err, syscall.EADDRINUSE):
		f.hint = "another process listens there (ss -ltnp shows which): stop it, or take other ports, by start --addr or dev --base-port"
	case errors.Is(err, syscall.EWOULDBLOCK):
		f.hint = "each node needs a --data-dir of its own; to start this one again, stop the process that has it"
	case errors.Is(err, syscall.ENOTDIR):
		f.hint = "pass a --data-dir that is a folder, or none yet"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		f.hint = "the disk is full: make room on it and start again; nothing that was acknowledged is lost"
	case errors.Is(err, os.ErrPermission):
		f.hint = "give the folder to that user with chown, or pass another --data-dir"
	}
	return f
}

// traces says what a data directory tells from outside: whether it is a node's, and
// whether that node has left its cluster.
func traces(dir string) (used, left bool) {
	b, err := os.ReadFile(filepath.Join(dir, "node.json"))
	if err != nil {
		return false, false
	}
	var identity struct {
		Left bool `json:"left"`
	}
	return true, json.Unmarshal(b, &identity) == nil && identity.Left
}
