package pinsvcapi

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"

	"go.opencensus.io/plugin/ochttp"
	"go.opencensus.io/plugin/ochttp/propagation/tracecontext"
	"go.opencensus.io/trace"
)

// handler puts the middleware together, from the innermost to the outermost.
// The package documentation lists it in the order in which a request meets it.
func (api *API) handler() http.Handler {
	var h http.Handler = http.HandlerFunc(api.dispatch)
	for _, layer := range []func(http.Handler) http.Handler{
		api.customHeaders,
		api.crossOrigin,
		api.traceSpan,
		api.recoverPanic,
		api.observe,
		api.identify,
	} {
		h = layer(h)
	}
	return h
}

const requestIDHeader = "X-Request-Id"

// identify makes the state of the request and bounds the time to read the
// body. The bound has to be set this early: net/http reads the body of a
// refused request before it reuses the connection.
func (api *API) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		api.requests.add(1)
		defer api.requests.add(-1)
		rq, w, r := api.newRequest(w, r)
		w.Header().Set(requestIDHeader, rq.id)
		if lengthIsDoubtful(r) {
			w.Header().Set("Connection", "close")
		}
		api.boundBodyTime(rq, r)
		next.ServeHTTP(w, r)
	})
}

// lengthIsDoubtful reports whether a proxy in front may take another place for the
// end of the request, so that what follows it on the connection may be of somebody
// else (request smuggling). RFC 9112, section 6.1, has the connection end after a
// request with Content-Length and Transfer-Encoding, and after one of HTTP/1.0 with
// Transfer-Encoding. net/http goes on, and removes the header that does not count, so
// that both look like any chunked request and any request of HTTP/1.0.
func lengthIsDoubtful(r *http.Request) bool {
	return len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1)
}

// recoverPanic is for panics of middleware and of streams; dispatch recovers
// those of handlers.
func (api *API) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			fault := recover()
			if fault == nil {
				return
			}
			if fault == http.ErrAbortHandler {
				panic(fault)
			}
			rq := requestOf(r)
			logger.Errorf("request %s: panic: %v\n%s", rq.id, fault, debug.Stack())
			err := fmt.Errorf("panic: %v", fault)
			rq.event.setFailure(err)
			if rq.recorder.status != 0 { // Half of a response was sent.
				panic(http.ErrAbortHandler)
			}
			api.send(w, r, rq, failureResponse(err, rq.id))
		}()
		next.ServeHTTP(w, r)
	})
}

// traceSpan makes one span per request when tracing is on. The handlers and
// the backend find it in the context of the request.
func (api *API) traceSpan(next http.Handler) http.Handler {
	if !api.cfg.Tracing {
		return next
	}
	return &ochttp.Handler{
		IsPublicEndpoint: true,
		Propagation:      &tracecontext.HTTPFormat{},
		Handler:          next,
		StartOptions:     trace.StartOptions{SpanKind: trace.SpanKindServer},
		FormatSpanName:   func(r *http.Request) string { return "pinsvcapi/" + requestOf(r).route.label() },
	}
}

// crossOrigin applies CORS. Preflight requests end here.
func (api *API) crossOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requestOf(r).users.cors.ServeHTTP(w, r, next.ServeHTTP)
	})
}

// customHeaders sets the configuration's headers.
func (api *API) customHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range api.cfg.Headers {
			w.Header()[http.CanonicalHeaderKey(name)] = slices.Clone(values)
		}
		next.ServeHTTP(w, r)
	})
}
