package kubo

import (
	"bytes"
	"sync"
)

const (
	outputLines   = 50
	maxLineLength = 2048
)

// logTail is an io.Writer that keeps the last lines of its input. It never fails
// and may be written to by many goroutines. An unfinished line is kept apart.
type logTail struct {
	mu      sync.Mutex
	lines   []string
	next    int
	partial []byte
}

func newLogTail(size int) *logTail { return &logTail{lines: make([]string, 0, size)} }

func (r *logTail) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rest := p
	for {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			r.extend(rest)
			return len(p), nil
		}
		r.extend(rest[:end])
		r.endLine()
		rest = rest[end+1:]
	}
}

// extend truncates a line at maxLineLength.
func (r *logTail) extend(p []byte) {
	room := maxLineLength - len(r.partial)
	r.partial = append(r.partial, p[:min(room, len(p))]...)
}

func (r *logTail) endLine() {
	line := string(bytes.TrimSpace(r.partial))
	r.partial = r.partial[:0]
	if line == "" {
		return
	}
	logger.Debug(line)
	if len(r.lines) < cap(r.lines) {
		r.lines = append(r.lines, line)
		return
	}
	r.lines[r.next] = line
	r.next = (r.next + 1) % len(r.lines)
}

// last returns the kept lines, oldest first, including an unfinished one.
func (r *logTail) last() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := append([]string{}, r.lines[r.next:]...)
	lines = append(lines, r.lines[:r.next]...)
	if partial := bytes.TrimSpace(r.partial); len(partial) > 0 {
		lines = append(lines, string(partial))
	}
	return lines
}

// clear drops all lines, before another process writes.
func (r *logTail) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines, r.next, r.partial = r.lines[:0], 0, r.partial[:0]
}
