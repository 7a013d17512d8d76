//go:build !linux

package vnodes

import "os"

// datasync is fsync where there is nothing cheaper.
func datasync(f *os.File) error { return f.Sync() }

// writeBack has the system begin to write n bytes at offset at of f to the disk,
// where it can be asked to.
func writeBack(*os.File, int64, int64) {}
