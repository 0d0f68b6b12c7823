package pinsvcapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/auth"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// request is the state of one HTTP request, shared by the middleware and the
// handlers. It belongs to the goroutine that serves the request.
type request struct {
	id     string
	start  time.Time
	client clientAddress
	limits limitKeys
	route  routeMatch
	// users is the set that was configured when the request came in. A reload
	// does not change it under a request.
	users    *userSet
	conn     *http.ResponseController
	recorder *responseRecorder
	caller   auth.Caller
	backend  Backend      // set once the readiness check has passed
	query    pinsvc.Query // of a list
	held     *lease       // of the response; may be nil
	// event is completed and published when the request ends.
	event requestEvent
	// streamStart is when the headers of a streaming response were sent, zero
	// for other responses.
	streamStart time.Time
	// sending is when the response began to be sent.
	sending time.Time
}

// owner is to whom the memory of the request is charged.
func (rq *request) owner() string {
	if rq.users.auth == nil {
		return rq.limits.client
	}
	return "user " + string(rq.caller.User)
}

type requestKey struct{}

// requestOf returns the state that identify has put into the context.
func requestOf(r *http.Request) *request {
	return r.Context().Value(requestKey{}).(*request)
}

// newRequest makes the state of a request. The caller uses the returned
// writer and *http.Request from here on.
func (api *API) newRequest(w http.ResponseWriter, r *http.Request) (*request, http.ResponseWriter, *http.Request) {
	client, viaProxy := clientOf(r, api.cfg.TrustedProxies)
	limits := limitKeysOf(r, client, viaProxy)
	if limits.shared != "" { // A proxy that nobody named.
		api.warnOfProxy.Do(func() {
			logger.Warnf("requests from %s carry X-Forwarded-For or Forwarded: name the proxy in api.pinsvcapi.trusted_proxies, or its clients are one in the log", client)
		})
	}
	rq := &request{
		id:       newRequestID(),
		start:    time.Now(),
		client:   client,
		limits:   limits,
		route:    api.routes.find(r, viaProxy),
		users:    api.users.Load(),
		conn:     http.NewResponseController(w),
		recorder: &responseRecorder{ResponseWriter: w, draining: api.draining},
	}
	return rq, rq.recorder, r.WithContext(context.WithValue(r.Context(), requestKey{}, rq))
}

// newRequestID returns a random ID, which does not reveal the number of
// requests.
func newRequestID() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // It never fails since Go 1.24.
	return hex.EncodeToString(id[:])
}

// responseRecorder remembers the status and the size of a response. Each
// request has one, made by identify.
type responseRecorder struct {
	http.ResponseWriter
	draining context.Context // of the API
	status   int             // zero before the header was written
	bytes    int64
}

func (rec *responseRecorder) WriteHeader(status int) {
	if rec.status == 0 && status >= 200 {
		rec.status = status
		if rec.draining.Err() != nil {
			rec.Header().Set("Connection", "close")
		}
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *responseRecorder) Write(data []byte) (int, error) {
	if rec.status == 0 {
		rec.WriteHeader(http.StatusOK)
	}
	n, err := rec.ResponseWriter.Write(data)
	rec.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (rec *responseRecorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }
