//go:build !linux

package main

import "errors"

func shutdownFileSystem(string) error { return errors.ErrUnsupported }
