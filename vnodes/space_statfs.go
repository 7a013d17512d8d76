//go:build linux || darwin || freebsd

package vnodes

import (
	"os"
	"syscall"
)

// space is what the file system of dir has free for this process, and in all.
func (osFiles) space(dir string) (free, total int64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	block := int64(st.Bsize)                                       //nolint:unconvert // its type differs between systems
	return int64(st.Bavail) * block, int64(st.Blocks) * block, nil //nolint:unconvert // likewise
}

// onDisk is what a file takes of the disk, its holes not counted.
func onDisk(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512 //nolint:unconvert // its type differs between systems
	}
	return info.Size()
}
