package pinsvcapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"go.uber.org/zap/zapcore"
)

// statusClientGone is nginx's: the client closed the connection before there
// was an answer. It is in logs and metrics only.
const statusClientGone = 499

// accessEvent is the one event of a request. It has no query, no headers and
// no body, so it never has a token or a password.
type accessEvent struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"request_id"`
	Remote    string    `json:"remote"`
	User      string    `json:"user,omitempty"`
	// TokenID is the jti of the token that was used.
	TokenID    string  `json:"token_id,omitempty"`
	Method     string  `json:"method"`
	Path       string  `json:"path"`
	Route      string  `json:"route"`
	Status     int     `json:"status"`
	Bytes      int64   `json:"bytes"`
	DurationMS float64 `json:"duration_ms"`
	UserAgent  string  `json:"user_agent,omitempty"`
	// Error is why the request failed, more than what the client was told.
	Error string `json:"error,omitempty"`

	gone bool
}

// maxLogged bounds what clients can make us log per field.
const maxLogged = 256

// clip shortens text, and leaves the runes of what is left whole.
func clip(text string) string {
	if len(text) <= maxLogged {
		return text
	}
	end := maxLogged
	for back := 0; back < utf8.UTFMax && !utf8.RuneStart(text[end]); back++ {
		end--
	}
	return text[:end] + "…"
}

// logAccess writes the event once the request has been answered.
func (api *API) logAccess(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w}
		defer func() { api.access.write(newAccessEvent(rec, r)) }()
		next.ServeHTTP(rec, r)
	})
}

func newAccessEvent(rec *recorder, r *http.Request) accessEvent {
	x := exchangeOf(r)
	event := accessEvent{
		Time:       x.start.UTC(),
		RequestID:  x.id,
		Remote:     r.RemoteAddr,
		User:       string(x.caller.User),
		TokenID:    clip(x.caller.TokenID),
		Method:     clip(r.Method),
		Path:       clip(r.URL.Path),
		Route:      x.route(),
		Status:     x.status(rec),
		Bytes:      rec.bytes,
		DurationMS: float64(time.Since(x.start).Microseconds()) / 1000,
		UserAgent:  clip(r.UserAgent()),
		gone:       x.gone,
	}
	if x.failure != nil {
		event.Error = x.failure.Error()
	}
	return event
}

// status is what logs and metrics say was answered.
func (x *exchange) status(rec *recorder) int {
	switch {
	case x.gone:
		return statusClientGone
	case rec.status == 0: // A panic above serve is on its way up.
		return http.StatusInternalServerError
	default:
		return rec.status
	}
}

// newAccessWriter appends to the file, or with no path writes to the daemon's
// own log.
func newAccessWriter(path string) (accessWriter, error) {
	if path == "" {
		return logWriter{}, nil
	}
	// It names users and what they pin.
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("api.pinsvcapi.http_log_file: %w", err)
	}
	return &fileWriter{file: file}, nil
}

// logWriter writes to the daemon's log.
type logWriter struct{}

func (logWriter) write(e accessEvent) {
	accessLog.Logw(e.level(), fmt.Sprintf("%s %s", e.Method, e.Route),
		"status", e.Status, "duration_ms", e.DurationMS, "user", e.User, "token_id", e.TokenID, "path", e.Path,
		"bytes", e.Bytes, "remote", e.Remote, "request_id", e.RequestID, "user_agent", e.UserAgent, "error", e.Error)
}

// level is that of an error for our faults, a warning for what is away, and
// information for all that is the client's doing.
func (e accessEvent) level() zapcore.Level {
	switch {
	case e.gone || e.Status < http.StatusInternalServerError:
		return zapcore.InfoLevel
	case e.Status == http.StatusServiceUnavailable:
		return zapcore.WarnLevel
	default:
		return zapcore.ErrorLevel
	}
}

func (logWriter) Close() error { return nil }

// fileWriter writes one JSON object per line. What goes wrong on our side is
// in the daemon's log too.
type fileWriter struct {
	mu     sync.Mutex
	file   *os.File
	failed bool // the fault was logged
}

func (f *fileWriter) write(e accessEvent) {
	if e.level() == zapcore.ErrorLevel {
		logger.Errorf("request %s (%s): %s", e.RequestID, e.Route, e.Error)
	}
	line, err := json.Marshal(e)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		_, err = f.file.Write(append(line, '\n'))
	}
	if err != nil && !f.failed {
		logger.Errorf("writing api.pinsvcapi.http_log_file: %v; later faults of this kind are not logged", err)
	}
	f.failed = err != nil
}

func (f *fileWriter) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}
