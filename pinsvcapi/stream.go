package pinsvcapi

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// streamFunc writes the body of a streaming response. It returns when there is
// no more to write, when a write fails or when ctx ends: the client disconnected,
// or the server drains (the cause is then errDraining). It should write what
// completes the response before it returns; a nil error, or the end of ctx,
// ends the response properly, any other error aborts the connection so that
// the client sees that it is incomplete.
type streamFunc func(ctx context.Context, w *streamWriter) error

// errDraining is the cause of contexts of streams that end because the server
// is shutting down.
var errDraining = errors.New("the server is shutting down")

// streamWriter writes to the client of a streaming response. It belongs to one
// goroutine.
type streamWriter struct {
	api    *API
	rq     *request
	w      http.ResponseWriter
	failed error // of the first write that failed
}

// Write implements io.Writer. Each write has a time limit of its own, so
// write_timeout does not apply to streams.
func (s *streamWriter) Write(p []byte) (int, error) {
	s.bound(len(p))
	n, err := s.w.Write(p)
	return n, s.note(err)
}

// Flush sends what was written so far.
func (s *streamWriter) Flush() error {
	s.bound(0)
	return s.note(s.rq.conn.Flush())
}

func (s *streamWriter) bound(n int) {
	if err := s.rq.conn.SetWriteDeadline(time.Now().Add(s.api.writeTime(n))); err != nil {
		logger.Debugf("request %s: the time to write is not bounded: %v", s.rq.id, err)
	}
}

func (s *streamWriter) note(err error) error {
	if s.failed == nil {
		s.failed = err
	}
	return err
}

// sendStream sends the headers of a streaming response and lets its function
// write the body.
func (api *API) sendStream(w http.ResponseWriter, r *http.Request, rq *request, resp response) {
	resp.setHeaders(w.Header())
	// Proxies pass on what comes when it comes: this is nginx's header.
	w.Header().Set("X-Accel-Buffering", "no")
	sw := &streamWriter{api: api, rq: rq, w: w}
	sw.bound(0)
	w.WriteHeader(resp.status)
	if r.Method == http.MethodHead || sw.Flush() != nil {
		return
	}
	rq.streamStart = time.Now()
	defer api.metrics.openStream(rq)()
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(api.draining, func() { cancel(errDraining) })()
	if err := resp.stream(ctx, sw); err != nil && ctx.Err() == nil && sw.failed == nil {
		rq.event.setFailure(err)
		panic(http.ErrAbortHandler)
	}
}
