package dataplane

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// gossipLogRate bounds the lines a second that memberlist may log; one sick node
// makes all others complain.
const gossipLogRate = 10

// memberlistLogger passes memberlist's lines on to l, and all of them, without their level, to told.
func memberlistLogger(l *slog.Logger, told func(text string)) *log.Logger {
	return log.New(&logBridge{log: l, told: told, limit: rate.NewLimiter(gossipLogRate, 5*gossipLogRate)}, "", 0)
}

// logBridge writes lines such as "[WARN] memberlist: text" to an slog.Logger, one
// level lower than they claim: gossip is a hint, and what it complains of heals or
// is told by others.
type logBridge struct {
	log   *slog.Logger
	told  func(text string)
	limit *rate.Limiter
}

// Write takes one line. It may be called from any goroutine, and does not fail.
func (b *logBridge) Write(line []byte) (int, error) {
	level, text := parseLogLine(string(line))
	b.told(text)
	ctx := context.Background()
	if b.log.Enabled(ctx, level) && b.limit.AllowN(time.Now(), 1) {
		b.log.Log(ctx, level, "gossip says", "text", text)
	}
	return len(line), nil
}

func parseLogLine(line string) (slog.Level, string) {
	tag, text, found := strings.Cut(strings.TrimSpace(line), " ")
	if !found || !strings.HasPrefix(tag, "[") {
		return slog.LevelInfo, strings.TrimSpace(line)
	}
	level := slog.LevelDebug
	switch tag {
	case "[ERR]", "[ERROR]":
		level = slog.LevelWarn
	case "[WARN]":
		level = slog.LevelInfo
	}
	return level, strings.TrimPrefix(text, "memberlist: ")
}
