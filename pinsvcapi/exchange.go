package pinsvcapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/auth"
)

// exchange is what the layers know of one request. It belongs to the goroutine
// that serves the request.
type exchange struct {
	id      string
	start   time.Time
	found   found
	conn    *http.ResponseController
	caller  auth.Caller
	backend Backend // set once the request got past readiness
	// failure is why the request failed, for the log.
	failure error
	// gone: the client went away before there was an answer.
	gone bool
}

type exchangeKey struct{}

// exchangeOf is the exchange that the request ID layer has made.
func exchangeOf(r *http.Request) *exchange {
	return r.Context().Value(exchangeKey{}).(*exchange)
}

func (api *API) newExchange(w http.ResponseWriter, r *http.Request) (*exchange, *http.Request) {
	x := &exchange{
		id:    newRequestID(),
		start: time.Now(),
		found: api.routes.find(r),
		conn:  http.NewResponseController(w),
	}
	return x, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
}

// newRequestID is random, so that it says nothing of how many there were.
func newRequestID() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // It never fails since Go 1.24.
	return hex.EncodeToString(id[:])
}

// route is a label from a closed set.
func (x *exchange) route() string {
	switch {
	case x.found.endpoint.handle != nil:
		return x.found.endpoint.name
	case x.found.allow != nil:
		return "other_method"
	default:
		return "unknown"
	}
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int // zero before the header was written
	bytes  int64
}

func (rec *recorder) WriteHeader(status int) {
	if rec.status == 0 && status >= 200 {
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *recorder) Write(data []byte) (int, error) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	n, err := rec.ResponseWriter.Write(data)
	rec.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }
