package main

import (
	"os"
	"syscall"
	"unsafe"
)

// shutdownFileSystem makes the ext4 file system of dir fail every operation from
// now on, without writing what it has not written yet: EXT4_IOC_SHUTDOWN.
func shutdownFileSystem(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	const ioctl = 0x8004587d // _IOR('X', 125, uint32)
	noFlush := uint32(2)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, d.Fd(), ioctl, uintptr(unsafe.Pointer(&noFlush))); errno != 0 {
		return errno
	}
	return nil
}
