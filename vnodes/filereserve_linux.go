package vnodes

import (
	"errors"
	"os"
	"syscall"
)

// reserveFile makes sure that the first size bytes of the file at path lie on the
// disk, holes filled, content unchanged: what is written there later finds room
// also on a full disk. A file system that cannot do that does without.
func reserveFile(path string, size int64) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	err = syscall.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return err
}
