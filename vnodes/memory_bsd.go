//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package vnodes

// largePages is for systems that leave that to the asking.
func largePages([]byte) {}
