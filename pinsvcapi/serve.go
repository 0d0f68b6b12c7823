package pinsvcapi

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// serve is where every answer is written: that of the handler, or the failure
// of the handler or of a layer before it.
func (api *API) serve(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	a, err := api.answer(w, r, x)
	if err != nil {
		x.failure = err
		x.gone = r.Context().Err() != nil && errors.Is(err, context.Canceled)
		a = failureAnswer(err, x.id)
		api.explain(w.Header(), x, pinsvc.KindOf(err))
	}
	a.write(w)
}

// answer takes the request through the inner layers to its handler.
func (api *API) answer(w http.ResponseWriter, r *http.Request, x *exchange) (a answer, err error) {
	defer func() {
		switch fault := recover(); fault {
		case nil:
		case http.ErrAbortHandler:
			panic(fault)
		default:
			logger.Errorf("request %s: panic: %v\n%s", x.id, fault, debug.Stack())
			err = fmt.Errorf("panic: %v", fault)
		}
	}()
	if err := api.authenticate(x, r); err != nil {
		return answer{}, err
	}
	if err := checkRoute(x, r); err != nil {
		return answer{}, err
	}
	if r.Method == http.MethodOptions {
		return answer{status: http.StatusNoContent, header: http.Header{"Allow": {strings.Join(x.found.allow, ", ")}}}, nil
	}
	if err := api.checkReady(r.Context(), x); err != nil {
		return answer{}, err
	}
	if r.Method == http.MethodPost {
		if err := api.checkBody(w, r); err != nil {
			return answer{}, err
		}
	}
	return x.found.endpoint.handle(api, x, r)
}

// authenticate finds out who calls. OPTIONS tells nothing and asks nobody.
func (api *API) authenticate(x *exchange, r *http.Request) error {
	if api.auth == nil || x.found.endpoint.open || (r.Method == http.MethodOptions && x.found.allow != nil) {
		return nil
	}
	caller, ok, err := api.auth.Authenticate(r.Header.Get("Authorization"))
	if err != nil {
		return fmt.Errorf("authenticating: %w", err)
	}
	x.caller = caller
	if !ok {
		return pinsvc.Errorf(pinsvc.KindUnauthorized, "%s", caller.Refusal)
	}
	return nil
}

// checkRoute refuses what is in no row of the table.
func checkRoute(x *exchange, r *http.Request) error {
	switch {
	case x.found.allow == nil:
		return pinsvc.Errorf(pinsvc.KindNotFound, "this service has no such path; its description is at /openapi.yaml")
	case x.found.endpoint.handle == nil && r.Method != http.MethodOptions:
		return pinsvc.Errorf(pinsvc.KindMethodNotAllowed, "this path takes %s", strings.Join(x.found.allow, ", "))
	default:
		return nil
	}
}

// waiter is a backend that can say when it is worth waiting for.
type waiter interface {
	// Wait is Ready for a request that can wait for a moment.
	Wait(ctx context.Context) error
}

// checkReady refuses requests that came too early.
func (api *API) checkReady(ctx context.Context, x *exchange) error {
	if x.found.endpoint.always {
		return nil
	}
	b := api.backend.Load()
	if b == nil {
		return pinsvc.Errorf(pinsvc.KindUnavailable, "the peer is starting")
	}
	x.backend = b.Backend
	ready := b.Ready()
	if w, ok := b.Backend.(waiter); ok && ready != nil && x.found.endpoint.patient {
		ready = w.Wait(ctx)
	}
	return unavailable(ready, "the peer is not ready")
}

// unavailable makes sure that err, if any, reads as 503.
func unavailable(err error, details string) error {
	if err == nil || pinsvc.KindOf(err) == pinsvc.KindUnavailable {
		return err
	}
	return pinsvc.Wrap(pinsvc.KindUnavailable, err, "%s", details)
}

// checkBody bounds the body and wants it to be JSON, or not to say what it is.
//
// Browsers send some types, and none at all, to other sites without asking the
// site first (no preflight), with the password that they remember. So a
// request with an Origin has to say that it is JSON, which CORS then governs.
// The types that such requests may have are refused from everybody else too:
// to take them only from some would be a riddle.
func (api *API) checkBody(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, api.cfg.MaxBodyBytes)
	if r.ContentLength > api.cfg.MaxBodyBytes {
		return pinsvc.Errorf(pinsvc.KindPayloadTooLarge, "the body has %d bytes; at most %d are taken", r.ContentLength, api.cfg.MaxBodyBytes)
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return pinsvc.Errorf(pinsvc.KindUnsupportedMediaType, "send the body without Content-Encoding")
	}
	declared := r.Header.Get("Content-Type")
	if r.ContentLength == 0 || isJSON(declared) || (declared == "" && r.Header.Get("Origin") == "") {
		return nil
	}
	return pinsvc.Errorf(pinsvc.KindUnsupportedMediaType, "send the body as Content-Type: application/json")
}

// isJSON is true for application/json, text/json and application/*+json, with
// any parameters.
func isJSON(declared string) bool {
	mediaType, _, err := mime.ParseMediaType(declared)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return false
	}
	return mediaType == "application/json" || mediaType == "text/json" ||
		(strings.HasPrefix(mediaType, "application/") && strings.HasSuffix(mediaType, "+json"))
}

// explain adds the headers that some failures need.
func (api *API) explain(h http.Header, x *exchange, kind pinsvc.Kind) {
	switch kind {
	case pinsvc.KindUnauthorized:
		h["Www-Authenticate"] = challenges(x)
	case pinsvc.KindMethodNotAllowed:
		h.Set("Allow", strings.Join(x.found.allow, ", "))
	}
}
