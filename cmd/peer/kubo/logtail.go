package kubo

import (
	"bytes"
	"sync"
)

const (
	outputLines   = 50
	maxLineLength = 2048
)

// ring keeps the last lines that were written to it. It is an io.Writer that
// never fails and may be written to by many goroutines; a line that is not
// ended yet is kept apart until it is.
type ring struct {
	mu      sync.Mutex
	lines   []string
	next    int
	partial []byte
}

func newRing(size int) *ring { return &ring{lines: make([]string, 0, size)} }

func (r *ring) Write(p []byte) (int, error) {
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

// extend drops what is beyond the length of a line.
func (r *ring) extend(p []byte) {
	room := maxLineLength - len(r.partial)
	r.partial = append(r.partial, p[:min(room, len(p))]...)
}

func (r *ring) endLine() {
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

// last returns the kept lines, oldest first, an unended one included.
func (r *ring) last() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := append([]string{}, r.lines[r.next:]...)
	lines = append(lines, r.lines[:r.next]...)
	if partial := bytes.TrimSpace(r.partial); len(partial) > 0 {
		lines = append(lines, string(partial))
	}
	return lines
}

// clear forgets everything, before another process writes.
func (r *ring) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines, r.next, r.partial = r.lines[:0], 0, r.partial[:0]
}
