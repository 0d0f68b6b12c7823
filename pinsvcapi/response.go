package pinsvcapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const jsonType = "application/json"

// response is what a handler returns: a whole body, one in pieces, or a stream. Nothing of
// the first two is sent before it is known that all of it can be, so a failure never follows
// half a body.
type response struct {
	status      int
	header      http.Header // may be nil
	contentType string      // of the body
	body        []byte      // nil for none
	pool        *bufferPool // takes the body back once it is sent; may be nil
	// rest, when not nil, appends the next piece of the body after the first, and reports
	// whether there are more.
	rest func(dst []byte) (_ []byte, more bool, err error)
	// stream, when not nil, writes the body. See sendStream.
	stream streamFunc
}

// appender is an object of the contract that writes its own JSON.
type appender interface {
	AppendJSON(dst []byte) ([]byte, error)
}

// objectResponse is a response with an object of the contract.
func (api *API) objectResponse(status int, object appender) (response, error) {
	body, err := object.AppendJSON(api.buffers.take())
	if err != nil {
		return response{}, fmt.Errorf("rendering the response: %w", err)
	}
	return response{status: status, contentType: jsonType, body: append(body, '\n'), pool: &api.buffers}, nil
}

// bufferPool keeps the memory of bodies that were sent for the next ones.
type bufferPool struct {
	// most bounds a buffer that is kept. A larger one was made for one response alone, and
	// a small response, which is not counted, would hold it while its client reads nothing.
	most int
	pool sync.Pool
}

func (b *bufferPool) take() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return (*buf)[:0]
	}
	return nil
}

// give takes the buffer back. Nobody may use it any more.
func (b *bufferPool) give(buffer []byte) {
	if 0 < cap(buffer) && cap(buffer) <= b.most {
		b.pool.Put(&buffer)
	}
}

// jsonResponse is a response with an object of our own.
func jsonResponse(status int, object any) (response, error) {
	body, err := json.Marshal(object)
	if err != nil {
		return response{}, err
	}
	return response{status: status, contentType: jsonType, body: append(body, '\n')}, nil
}

// failureResponse is the Failure object about err. About internal failures the
// client reads the request ID only, which the log has too.
func failureResponse(err error, requestID string) response {
	failure, kind := pinsvc.FailureOf(err), pinsvc.KindOf(err)
	resp := response{status: statusOf(kind), header: http.Header{}, contentType: jsonType}
	if resp.status == http.StatusInternalServerError {
		failure.Details = "request ID " + requestID
	}
	if wait, ok := retryAfter(err, kind); ok {
		resp.header.Set("Retry-After", strconv.Itoa(wait))
	}
	resp.body = append(failure.AppendJSON(nil), '\n')
	return resp
}

// statusOf is the one translation of kinds to HTTP (D8).
func statusOf(kind pinsvc.Kind) int {
	switch kind {
	case pinsvc.KindBadRequest:
		return http.StatusBadRequest
	case pinsvc.KindUnauthorized:
		return http.StatusUnauthorized
	case pinsvc.KindForbidden, pinsvc.KindMissingScope:
		return http.StatusForbidden
	case pinsvc.KindNotFound:
		return http.StatusNotFound
	case pinsvc.KindMethodNotAllowed:
		return http.StatusMethodNotAllowed
	case pinsvc.KindInsufficientFunds:
		return http.StatusConflict
	case pinsvc.KindPayloadTooLarge:
		return http.StatusRequestEntityTooLarge
	case pinsvc.KindUnsupportedMediaType:
		return http.StatusUnsupportedMediaType
	case pinsvc.KindTooManyRequests:
		return http.StatusTooManyRequests
	case pinsvc.KindUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// defaultRetryAfter is for failures without a time of their own: what is
// unavailable for a moment is mostly back within some seconds.
const defaultRetryAfter = 5 * time.Second

// retryAfter returns the Retry-After of a failure in whole seconds, at least
// one.
func retryAfter(err error, kind pinsvc.Kind) (seconds int, ok bool) {
	if kind != pinsvc.KindUnavailable && kind != pinsvc.KindTooManyRequests {
		return 0, false
	}
	wait := defaultRetryAfter
	if e, ok := errors.AsType[*pinsvc.Error](err); ok && e.RetryAfter > 0 {
		wait = e.RetryAfter
	}
	return max(1, int(math.Ceil(wait.Seconds()))), true
}

// Time to write a response. write_timeout is 0s in every file that
// ipfs-cluster-service wrote, so a client that does not read would hold the
// connection and the body for ever.
const (
	writeGrace = 30 * time.Second
	writeRate  = 64 << 10 // bytes per second, at least
	// maxWriteTime bounds the time for all of a response.
	maxWriteTime = 5 * time.Minute
)

// writeTime is how long sending n bytes may take.
func (api *API) writeTime(n int) time.Duration {
	return min(maxWriteTime, api.opts.writeGrace+time.Duration(n)*time.Second/writeRate)
}

// boundWriteTime makes sending the first n bytes of a response fail after a time that suits
// them, or earlier if write_timeout, which net/http has begun to count, is shorter.
func (api *API) boundWriteTime(rq *request, n int) {
	if rq.sending.IsZero() {
		rq.sending = time.Now()
	}
	deadline := rq.sending.Add(api.writeTime(n))
	if api.cfg.WriteTimeout > 0 && rq.start.Add(api.cfg.WriteTimeout).Before(deadline) {
		return
	}
	if err := rq.conn.SetWriteDeadline(deadline); err != nil {
		logger.Debugf("request %s: the time to write its response is not bounded: %v", rq.id, err)
	}
}

// setHeaders sets what all responses have. Vary is added to, because the
// middleware has values of its own.
func (resp *response) setHeaders(h http.Header) {
	for name, values := range resp.header {
		if name == "Vary" {
			h[name] = append(h[name], values...)
			continue
		}
		h[name] = values
	}
	h.Set("X-Content-Type-Options", "nosniff")
	if resp.body == nil && resp.stream == nil {
		h.Del("Content-Type")
		return
	}
	h.Set("Content-Type", resp.contentType)
}

// send writes the response, once.
func (api *API) send(w http.ResponseWriter, r *http.Request, rq *request, resp response) {
	resp.setHeaders(w.Header())
	if resp.rest == nil && (resp.body != nil || resp.status != http.StatusNoContent) {
		w.Header().Set("Content-Length", strconv.Itoa(len(resp.body)))
	}
	api.boundWriteTime(rq, len(resp.body))
	w.WriteHeader(resp.status)
	if resp.body == nil {
		return
	}
	defer resp.discard() // Write keeps nothing of the body.
	_, err := w.Write(resp.body)
	if err == nil && resp.rest != nil && r.Method != http.MethodHead {
		err = api.sendRest(w, rq, &resp)
	}
	if err != nil && rq.event.Error == "" && !errors.Is(err, http.ErrBodyNotAllowed) {
		reason := "the client did not read the response"
		if wasCutOff(r) {
			reason = "the response was cut off: " + errCutOff.Error()
		}
		rq.event.Error = clip(reason + ": " + err.Error())
	}
}

// discard gives the memory of the body back. Nobody may use it any more.
func (resp *response) discard() {
	if resp.pool != nil {
		resp.pool.give(resp.body)
		resp.body, resp.pool = nil, nil
	}
}
