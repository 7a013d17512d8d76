package vnodes

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Level says how short of room a disk is.
type Level int

// The levels. At each one all that the one before refuses is refused too.
const (
	Roomy    Level = iota
	Low            // partitions that would move here, and slots that would be filled, are refused
	Critical       // commands, effects, hints and chunks are refused; reads go on
)

func (l Level) String() string {
	switch l {
	case Low:
		return "low"
	case Critical:
		return "critical"
	}
	return "ok"
}

// Space is the room on the disk of the data directory as it was lately.
type Space struct {
	Known    bool  // false: the system does not say; then nothing is refused until a write fails
	Free     int64 // bytes that this process may use
	Total    int64
	Low      int64 // with less free than this the level is Low
	Critical int64 // and with less than this Critical; never less than Reserve
	Reserve  int64 // to write what is in memory into the files, and to shorten the log
	Level    Level
}

// Mark is an amount of room: bytes, or a percentage of the disk. Zero means the
// default of whatever it is for.
type Mark struct {
	Bytes   int64
	Percent float64
}

// defaultMark is a part of the disk, but not more than most: what is kept free of
// a large disk is meant for the same amount of work as of a small one.
type defaultMark struct {
	percent float64
	most    int64
}

// of is the mark in bytes on a disk of total bytes.
func (m Mark) of(total int64, def defaultMark) int64 {
	switch {
	case m.Bytes > 0:
		return m.Bytes
	case m.Percent > 0:
		return int64(float64(total) * m.Percent / 100)
	}
	return min(int64(float64(total)*def.percent/100), def.most)
}

// ParseMark reads a Mark: "10%", "10GiB", "500MB", "4096", or "0" for nothing but
// what the node itself needs to finish its work. Empty is the default.
func ParseMark(s string) (Mark, error) {
	bad := func() (Mark, error) {
		return Mark{}, fmt.Errorf("%q: write bytes, as 10GiB or 500MB, or a part of the disk, as 10%%", s)
	}
	text := strings.TrimSpace(s)
	if text == "" {
		return Mark{}, nil
	}
	if number, ok := strings.CutSuffix(text, "%"); ok {
		p, err := strconv.ParseFloat(number, 64)
		if err != nil || !(p >= 0 && p < 100) {
			return bad()
		}
		if p == 0 {
			return Mark{Bytes: 1}, nil
		}
		return Mark{Percent: p}, nil
	}
	unit := int64(1)
	for _, u := range [...]struct {
		name string
		size int64
	}{
		{"KiB", 1 << 10},
		{"MiB", 1 << 20},
		{"GiB", 1 << 30},
		{"TiB", 1 << 40},
		{"kB", 1e3},
		{"KB", 1e3},
		{"MB", 1e6},
		{"GB", 1e9},
		{"TB", 1e12},
		{"B", 1},
	} {
		if number, ok := strings.CutSuffix(text, u.name); ok {
			text, unit = strings.TrimSpace(number), u.size
			break
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0 && n*float64(unit) < 1<<62) {
		return bad()
	}
	return Mark{Bytes: max(int64(n*float64(unit)), 1)}, nil
}

// SpaceError refuses work for which there is no room on the disk. It surely has
// not been done, and may be tried again when there is room.
type SpaceError struct {
	Doing string // what was refused
	Free  int64
	Need  int64 // free bytes with which it would be done
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("%s: the disk has %s free and needs %s: make room on it, or let another node take partitions; it goes on by itself",
		e.Doing, sizeText(e.Free), sizeText(e.Need))
}

// Is makes a SpaceError match ErrDiskFull.
func (e *SpaceError) Is(target error) bool { return target == ErrDiskFull }

// ErrDiskFull reports that something was not done for want of room on the disk.
var ErrDiskFull = errors.New("the disk is full")

// sizeText is a number of bytes for people.
func sizeText(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	case n < 10<<30:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d GiB", n>>30)
}
