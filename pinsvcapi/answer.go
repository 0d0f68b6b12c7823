package pinsvcapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const jsonType = "application/json"

// answer is a whole answer: nothing is written before all of it is there, so
// there is never half of one, nor two.
type answer struct {
	status      int
	header      http.Header // may be nil
	contentType string      // of the body
	body        []byte      // nil for none
	from        *bodies     // takes the body back once it is sent; may be nil
}

// appender is an object of the contract that writes its own JSON.
type appender interface {
	AppendJSON(dst []byte) ([]byte, error)
}

// objectAnswer is an answer with an object of the contract.
func (api *API) objectAnswer(status int, object appender) (answer, error) {
	body, err := object.AppendJSON(api.bodies.take())
	if err != nil {
		return answer{}, fmt.Errorf("the backend's answer: %w", err)
	}
	return answer{status: status, contentType: jsonType, body: append(body, '\n'), from: &api.bodies}, nil
}

// bodies keeps the memory of bodies that were sent for those to come: that of
// a page of 1,000 pins is half a megabyte.
type bodies struct{ pool sync.Pool }

// maxKeptBody bounds a body whose memory is kept.
const maxKeptBody = 2 << 20

func (b *bodies) take() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return (*buf)[:0]
	}
	return nil
}

// give takes the body back. Nobody may use it any more.
func (b *bodies) give(body []byte) {
	if 0 < cap(body) && cap(body) <= maxKeptBody {
		b.pool.Put(&body)
	}
}

// mapAnswer is an answer with an object of our own.
func mapAnswer(status int, pairs map[string]string) (answer, error) {
	body, err := json.Marshal(pairs)
	if err != nil {
		return answer{}, err
	}
	return answer{status: status, contentType: jsonType, body: append(body, '\n')}, nil
}

// failureAnswer is what a client is told of err. Of internal ones it learns
// the request ID, which the log has too.
func failureAnswer(err error, requestID string) answer {
	failure, kind := pinsvc.FailureOf(err), pinsvc.KindOf(err)
	a := answer{status: statusOf(kind), header: http.Header{}, contentType: jsonType}
	if a.status == http.StatusInternalServerError {
		failure.Details = "request ID " + requestID
	}
	if wait, ok := retryAfter(err, kind); ok {
		a.header.Set("Retry-After", strconv.Itoa(wait))
	}
	a.body = append(failure.AppendJSON(nil), '\n')
	return a
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

// defaultRetryAfter is what is told when the failure does not say: what is
// away for a moment is mostly back within some seconds.
const defaultRetryAfter = 5 * time.Second

// retryAfter is in whole seconds, at least one.
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

// write sends the answer, once. That the client is gone by then is nobody's
// fault.
func (a answer) write(w http.ResponseWriter) {
	h := w.Header()
	maps.Copy(h, a.header)
	h.Set("X-Content-Type-Options", "nosniff")
	if a.body == nil {
		h.Del("Content-Type")
		if a.status != http.StatusNoContent {
			h.Set("Content-Length", "0")
		}
		w.WriteHeader(a.status)
		return
	}
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // Which keeps nothing of it.
	if a.from != nil {
		a.from.give(a.body)
	}
}
