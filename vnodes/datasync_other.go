//go:build !linux

package vnodes

import "os"

// datasync is fsync where there is nothing cheaper.
func datasync(f *os.File) error { return f.Sync() }
