package pinsvcapi

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"

	"github.com/rs/cors"
	"go.opencensus.io/plugin/ochttp"
	"go.opencensus.io/plugin/ochttp/propagation/tracecontext"
	"go.opencensus.io/trace"
)

// handler puts the layers together, from the innermost to the outermost; the
// package documentation has them in the order in which a request meets them.
func (api *API) handler() http.Handler {
	var h http.Handler = http.HandlerFunc(api.serve)
	for _, layer := range []func(http.Handler) http.Handler{
		api.customHeaders,
		cors.New(api.cfg.CORSOptions()).Handler,
		api.measure,
		api.logAccess,
		api.traceSpan,
		api.identify,
		api.recoverPanic,
	} {
		h = layer(h)
	}
	return h
}

// recoverPanic is the last resort for panics above serve, which has one of
// its own for those of handlers. As the outermost layer it counts the requests
// that are running.
func (api *API) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		api.running.add(1)
		defer api.running.add(-1)
		rec := &recorder{ResponseWriter: w}
		defer func() {
			fault := recover()
			switch {
			case fault == nil:
			case fault == http.ErrAbortHandler || rec.status != 0:
				panic(http.ErrAbortHandler)
			default:
				id := rec.Header().Get(requestIDHeader)
				logger.Errorf("request %s: panic: %v\n%s", id, fault, debug.Stack())
				failureAnswer(fmt.Errorf("panic: %v", fault), id).write(rec)
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

const requestIDHeader = "X-Request-Id"

// identify makes the exchange and bounds the time to read the body. The bound
// has to be set this early: a body that nobody reads, because the request was
// refused, is read by net/http before it reuses the connection.
func (api *API) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x, r := api.newExchange(w, r)
		w.Header().Set(requestIDHeader, x.id)
		api.boundBodyTime(x, r)
		next.ServeHTTP(w, r)
	})
}

// boundBodyTime makes reading the body fail body_read_timeout from now. A
// shorter read_timeout, which net/http has begun to count, is left alone.
func (api *API) boundBodyTime(x *exchange, r *http.Request) {
	limit := api.cfg.BodyReadTimeout
	if r.Body == http.NoBody || limit <= 0 || (api.cfg.ReadTimeout > 0 && api.cfg.ReadTimeout <= limit) {
		return
	}
	// The deadline does not hurt the answer: net/http takes it back once it
	// has read the body to its end.
	if err := x.conn.SetReadDeadline(x.start.Add(limit)); err != nil {
		logger.Debugf("request %s: the time to read its body is not bounded: %v", x.id, err)
	}
}

// traceSpan makes one span per request when tracing is on.
func (api *API) traceSpan(next http.Handler) http.Handler {
	if !api.cfg.Tracing {
		return next
	}
	return &ochttp.Handler{
		IsPublicEndpoint: true,
		Propagation:      &tracecontext.HTTPFormat{},
		Handler:          next,
		StartOptions:     trace.StartOptions{SpanKind: trace.SpanKindServer},
		FormatSpanName:   func(r *http.Request) string { return "pinsvcapi/" + exchangeOf(r).route() },
	}
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
