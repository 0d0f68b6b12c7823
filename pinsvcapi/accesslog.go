package pinsvcapi

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/ipfs/go-log/v2"
	"go.uber.org/zap/zapcore"
)

// accessLogger writes the events of requests: one JSON object per line into
// the file of http_log_file, or without a file into the daemon's own log.
type accessLogger struct {
	mu     sync.Mutex // one line at a time, and none into a file that open replaces
	file   *os.File   // nil: the daemon's log
	failed bool       // the last write failed, which was logged
}

// open makes path the file to append to; "" means the daemon's log. The
// former file is closed. When path cannot be opened nothing changes.
func (l *accessLogger) open(path string) error {
	var file *os.File
	if path != "" {
		var err error
		// It names users and the content that they pin.
		file, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("api.pinsvcapi.http_log_file: %w", err)
		}
	}
	l.mu.Lock()
	old := l.file
	l.file, l.failed = file, false
	l.mu.Unlock()
	if old != nil {
		logFault("closing the access log", old.Close())
	}
	return nil
}

func (l *accessLogger) write(e *requestEvent) {
	if !l.toFile(e) {
		logEvent(e)
		return
	}
	// The daemon's log has the faults of the service too.
	if e.level() == zapcore.ErrorLevel {
		logger.Errorf("request %s (%s): %s", e.RequestID, e.Route, e.Error)
	}
}

// toFile writes the event into the file, or returns false when there is none.
func (l *accessLogger) toFile(e *requestEvent) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return false
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = l.file.Write(append(line, '\n'))
	}
	if err != nil && !l.failed {
		logger.Errorf("writing api.pinsvcapi.http_log_file: %v; the next failures of this kind are not logged", err)
	}
	l.failed = err != nil
	return true
}

// Close closes the file, if there is one.
func (l *accessLogger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// hostOf is the host of host:port, and anything else as it is.
func hostOf(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return remote
}

// logEvent writes to the daemon's log. Fields that most events lack are left
// out when empty.
func logEvent(e *requestEvent) {
	if !accessLog.LevelEnabled(log.LogLevel(e.level())) {
		return
	}
	fields := []any{
		"status", e.Status, "duration_ms", e.DurationMS, "user", e.User, "token_id", e.TokenID, "path", e.Path,
		"bytes", e.Bytes, "remote", e.Remote, "request_id", e.RequestID, "user_agent", e.UserAgent, "error", e.Error,
	}
	for _, field := range []struct{ name, value string }{
		{"tried_user", e.TriedUser}, {"source", e.Source}, {"reason", e.Reason},
	} {
		if field.value != "" {
			fields = append(fields, field.name, field.value)
		}
	}
	if e.Client != hostOf(e.Remote) {
		fields = append(fields, "client", e.Client)
	}
	if len(e.CIDs) > 0 {
		fields = append(fields, "cids", e.CIDs)
	}
	if e.DroppedOrigins > 0 {
		fields = append(fields, "dropped_origins", e.DroppedOrigins)
	}
	if e.Results != nil {
		fields = append(fields, "results", *e.Results)
	}
	accessLog.Logw(e.level(), fmt.Sprintf("%s %s", e.Method, e.Route), fields...)
}
