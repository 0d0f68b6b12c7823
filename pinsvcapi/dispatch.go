package pinsvcapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// dispatch sends the one response of a request: that of its handler, or the
// failure of the handler or of a check before it.
func (api *API) dispatch(w http.ResponseWriter, r *http.Request) {
	rq := requestOf(r)
	defer func() { rq.held.release() }()
	resp, err := api.handle(w, r, rq)
	if err == nil && rq.route.endpoint.policy.cost < costWrite { // What was written is not refused afterwards.
		err = api.holdResponse(rq, &resp)
	}
	if err != nil {
		resp = api.fail(w, r, rq, err)
	}
	if resp.stream != nil {
		api.sendStream(w, r, rq, resp)
		return
	}
	api.send(w, r, rq, resp)
}

// handle applies the policy of the endpoint and calls its handler.
func (api *API) handle(w http.ResponseWriter, r *http.Request, rq *request) (resp response, err error) {
	defer func() {
		switch fault := recover(); fault {
		case nil:
		case http.ErrAbortHandler:
			panic(fault)
		default:
			logger.Errorf("request %s: panic: %v\n%s", rq.id, fault, debug.Stack())
			err = fmt.Errorf("panic: %v", fault)
		}
	}()
	if err := refusal(r.Context()); err != nil {
		return response{}, err
	}
	if err := api.checkHost(rq, r); err != nil {
		return response{}, err
	}
	if err := api.authenticate(rq, r); err != nil {
		return response{}, err
	}
	if err := api.checkRoute(rq, r); err != nil {
		return response{}, err
	}
	if r.Method == http.MethodOptions {
		return response{status: http.StatusNoContent, header: http.Header{"Allow": {strings.Join(rq.route.allow, ", ")}}}, nil
	}
	if err := api.checkReady(r.Context(), rq); err != nil {
		return response{}, err
	}
	e := rq.route.endpoint
	if err := api.checkBody(w, r, e.policy.body); err != nil {
		return response{}, err
	}
	release, err := api.readBody(rq, r, e.policy.body)
	if err != nil {
		return response{}, err
	}
	defer release()
	if e.policy.prepare != nil {
		if err := e.policy.prepare(api, rq, r); err != nil {
			return response{}, err
		}
	}
	leave, err := api.admission.enter(r.Context(), e.policy.cost)
	if err != nil {
		return response{}, err
	}
	defer leave()
	resp, err = e.handle(api, rq, r)
	if err == nil && resp.stream != nil && !e.policy.streams {
		err = fmt.Errorf("the route %s returned a stream, which its policy does not allow", e.name)
	}
	return resp, err
}

// errCutOff is the cause of contexts that end because the shutdown timeout is
// over.
var errCutOff = errors.New("the service is shutting down")

// wasCutOff reports whether the shutdown has closed the connection of a request.
func wasCutOff(r *http.Request) bool { return context.Cause(r.Context()) == errCutOff }

// fail notes a failure in the event and returns the response about it.
func (api *API) fail(w http.ResponseWriter, r *http.Request, rq *request, err error) response {
	cancelled := r.Context().Err() != nil && errors.Is(err, context.Canceled)
	switch {
	case wasCutOff(r) && (cancelled || errors.Is(err, net.ErrClosed)): // The latter while the body was read.
		err = pinsvc.Wrap(pinsvc.KindUnavailable, err, "%v", errCutOff)
	case cancelled:
		rq.event.gone = true
	}
	rq.event.setFailure(err)
	setFailureHeaders(w.Header(), rq, pinsvc.KindOf(err))
	return failureResponse(err, rq.id)
}

// checkRoute refuses requests that the table of routes does not have.
func (api *API) checkRoute(rq *request, r *http.Request) error {
	switch {
	case rq.route.outside:
		return pinsvc.Errorf(pinsvc.KindNotFound, "this service is served under %s (base_path); there is nothing at this path", api.routes.base)
	case rq.route.allow == nil:
		return pinsvc.Errorf(pinsvc.KindNotFound, "this service has no such path; its description is at %s/openapi.yaml", api.routes.base)
	case rq.route.endpoint.handle == nil && r.Method != http.MethodOptions:
		return pinsvc.Errorf(pinsvc.KindMethodNotAllowed, "this path takes %s", strings.Join(rq.route.allow, ", "))
	default:
		return nil
	}
}

// ReadyWaiter is a Backend for which some requests may wait for a moment until
// it is ready.
type ReadyWaiter interface {
	// Wait returns what Ready returns, after waiting for a moment if that is
	// likely to help.
	Wait(ctx context.Context) error
}

// HealthDetailer is a Backend that knows what an operator should attend to although
// requests can be served.
type HealthDetailer interface {
	// HealthDetails returns sentences for GET /ready, which needs no credentials: they
	// name no addresses, paths or users.
	HealthDetails() []string
}

// checkReady refuses requests while the peer is not ready.
func (api *API) checkReady(ctx context.Context, rq *request) error {
	need := rq.route.endpoint.policy.readiness
	if need == anyTime {
		return nil
	}
	b := api.backend.Load()
	if b == nil {
		return api.starting()
	}
	rq.backend = b.Backend
	ready := b.Ready()
	if w, ok := b.Backend.(ReadyWaiter); ok && ready != nil && need == waitReady {
		ready = w.Wait(ctx)
	}
	return unavailable(ready, "the peer is not ready")
}

// starting is the error of requests that come before SetClient.
func (api *API) starting() error {
	if api.opts.Starting != nil {
		if cause := api.opts.Starting(); cause != "" {
			return pinsvc.Errorf(pinsvc.KindUnavailable, "the peer is starting: %s", cause)
		}
	}
	return pinsvc.Errorf(pinsvc.KindUnavailable, "the peer is starting")
}

// unavailable makes sure that err, if any, reads as 503.
func unavailable(err error, details string) error {
	if err == nil || pinsvc.KindOf(err) == pinsvc.KindUnavailable {
		return err
	}
	return pinsvc.Wrap(pinsvc.KindUnavailable, err, "%s", details)
}

// setFailureHeaders adds the headers that some failures need.
func setFailureHeaders(h http.Header, rq *request, kind pinsvc.Kind) {
	switch kind {
	case pinsvc.KindUnauthorized:
		h["Www-Authenticate"] = challenges(rq)
	case pinsvc.KindMethodNotAllowed:
		h.Set("Allow", strings.Join(rq.route.allow, ", "))
	}
}
