package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"slices"

	"github.com/hashicorp/go-hclog"
)

// hclogger lets raft log through slog. Raft calls an error what is an ordinary day
// to us, such as a peer that is away, so each level goes one down.
type hclogger struct {
	log     *slog.Logger
	name    string
	implied []any
}

var _ hclog.Logger = hclogger{}

func slogLevel(l hclog.Level) slog.Level {
	switch l {
	case hclog.Error:
		return slog.LevelWarn
	case hclog.Warn:
		return slog.LevelInfo
	case hclog.Info:
		return slog.LevelDebug
	}
	return slog.LevelDebug - 4
}

func (h hclogger) enabled(l hclog.Level) bool {
	return h.log.Enabled(context.Background(), slogLevel(l))
}

// Log implements hclog.Logger.
func (h hclogger) Log(l hclog.Level, msg string, args ...any) {
	if slices.ContainsFunc(args, isClosed) {
		l = hclog.Info // a connection of ours that has been closed is no news to us
	}
	if !h.enabled(l) {
		return
	}
	out := slices.Clone(args)
	for i, a := range out {
		if f, ok := a.(hclog.Format); ok {
			out[i] = formatted(f)
		}
		if out[i] == "error" && i%2 == 0 {
			out[i] = "err"
		}
	}
	h.log.Log(context.Background(), slogLevel(l), "raft: "+msg, out...)
}

func isClosed(arg any) bool {
	err, ok := arg.(error)
	return ok && errors.Is(err, net.ErrClosed)
}

// formatted is what hclog.Fmt stands for: a format and its arguments.
func formatted(f hclog.Format) string {
	if len(f) == 0 {
		return ""
	}
	return fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
}

// Trace implements hclog.Logger.
func (h hclogger) Trace(msg string, args ...any) { h.Log(hclog.Trace, msg, args...) }

// Debug implements hclog.Logger.
func (h hclogger) Debug(msg string, args ...any) { h.Log(hclog.Debug, msg, args...) }

// Info implements hclog.Logger.
func (h hclogger) Info(msg string, args ...any) { h.Log(hclog.Info, msg, args...) }

// Warn implements hclog.Logger.
func (h hclogger) Warn(msg string, args ...any) { h.Log(hclog.Warn, msg, args...) }

// Error implements hclog.Logger.
func (h hclogger) Error(msg string, args ...any) { h.Log(hclog.Error, msg, args...) }

// IsTrace implements hclog.Logger.
func (h hclogger) IsTrace() bool { return h.enabled(hclog.Trace) }

// IsDebug implements hclog.Logger.
func (h hclogger) IsDebug() bool { return h.enabled(hclog.Debug) }

// IsInfo implements hclog.Logger.
func (h hclogger) IsInfo() bool { return h.enabled(hclog.Info) }

// IsWarn implements hclog.Logger.
func (h hclogger) IsWarn() bool { return h.enabled(hclog.Warn) }

// IsError implements hclog.Logger.
func (h hclogger) IsError() bool { return h.enabled(hclog.Error) }

// ImpliedArgs implements hclog.Logger.
func (h hclogger) ImpliedArgs() []any { return h.implied }

// With implements hclog.Logger.
func (h hclogger) With(args ...any) hclog.Logger {
	return hclogger{h.log.With(args...), h.name, slices.Concat(h.implied, args)}
}

// Name implements hclog.Logger.
func (h hclogger) Name() string { return h.name }

// Named implements hclog.Logger. Names are not logged: there is one raft.
func (h hclogger) Named(name string) hclog.Logger { return hclogger{h.log, name, h.implied} }

// ResetNamed implements hclog.Logger.
func (h hclogger) ResetNamed(name string) hclog.Logger { return h.Named(name) }

// SetLevel implements hclog.Logger; slog's handler decides instead.
func (h hclogger) SetLevel(hclog.Level) {}

// GetLevel implements hclog.Logger.
func (h hclogger) GetLevel() hclog.Level {
	for l := hclog.Trace; l < hclog.Error; l++ {
		if h.enabled(l) {
			return l
		}
	}
	return hclog.Error
}

// StandardLogger implements hclog.Logger.
func (h hclogger) StandardLogger(opts *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(h.StandardWriter(opts), "", 0)
}

// StandardWriter implements hclog.Logger.
func (h hclogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return hclogWriter{h} }

// hclogWriter logs each write as one message.
type hclogWriter struct{ log hclogger }

func (w hclogWriter) Write(b []byte) (int, error) {
	w.log.Info("output", "text", string(b))
	return len(b), nil
}
