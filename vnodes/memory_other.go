//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package vnodes

// mapMemory is n bytes.
func mapMemory(n int) []byte { return make([]byte, n) }

func unmapMemory([]byte) {}
func emptyMemory([]byte) {}
