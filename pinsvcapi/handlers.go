package pinsvcapi

import (
	"errors"
	"net/http"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// listPins is GET /pins.
func (api *API) listPins(x *exchange, r *http.Request) (answer, error) {
	q, err := pinsvc.ParseRawQuery(r.URL.RawQuery)
	if err != nil {
		return answer{}, err
	}
	page, err := x.backend.List(r.Context(), x.caller.User, q)
	if err != nil {
		return answer{}, err
	}
	return api.objectAnswer(http.StatusOK, page)
}

// addPin is POST /pins.
func (api *API) addPin(x *exchange, r *http.Request) (answer, error) {
	pin, err := api.decodePin(r)
	if err != nil {
		return answer{}, err
	}
	st, err := x.backend.Add(r.Context(), x.caller.User, pin)
	if err != nil {
		return answer{}, err
	}
	return api.objectAnswer(http.StatusAccepted, &st)
}

// getPin is GET /pins/{requestid}.
func (api *API) getPin(x *exchange, r *http.Request) (answer, error) {
	st, err := x.backend.Get(r.Context(), x.caller.User, x.requestID())
	if err != nil {
		return answer{}, err
	}
	return api.objectAnswer(http.StatusOK, &st)
}

// replacePin is POST /pins/{requestid}.
func (api *API) replacePin(x *exchange, r *http.Request) (answer, error) {
	pin, err := api.decodePin(r)
	if err != nil {
		return answer{}, err
	}
	st, err := x.backend.Replace(r.Context(), x.caller.User, x.requestID(), pin)
	if err != nil {
		return answer{}, err
	}
	return api.objectAnswer(http.StatusAccepted, &st)
}

// deletePin is DELETE /pins/{requestid}.
func (api *API) deletePin(x *exchange, r *http.Request) (answer, error) {
	if err := x.backend.Delete(r.Context(), x.caller.User, x.requestID()); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusAccepted}, nil
}

// requestID is the one in the path.
func (x *exchange) requestID() string { return x.found.vars["requestid"] }

// decodePin reads the body of a request.
func (api *API) decodePin(r *http.Request) (pinsvc.Pin, error) {
	pin, _, err := pinsvc.DecodePin(r.Body)
	if err != nil {
		return pin, bodyError(err)
	}
	if !api.cfg.RefusePrivateOrigins {
		return pin, nil
	}
	for _, origin := range pin.Origins {
		if isPrivate(origin) {
			return pinsvc.Pin{}, pinsvc.Errorf(pinsvc.KindBadRequest,
				"origins: %s is not reachable from here; this service takes no private and loopback addresses", origin)
		}
	}
	return pin, nil
}

// bodyError gives the errors of reading a body their kinds.
func bodyError(err error) error {
	if _, ok := errors.AsType[*pinsvc.Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return pinsvc.Wrap(pinsvc.KindPayloadTooLarge, err, "the body is too large")
	}
	return pinsvc.Wrap(pinsvc.KindBadRequest, err, "the body could not be read to its end")
}

// isPrivate is true for addresses that mean something only on the machine or
// the network of their owner. Names, relays and onion services are not.
func isPrivate(addr multiaddr.Multiaddr) bool {
	return manet.IsPrivateAddr(addr) || manet.IsIPLoopback(addr) || manet.IsIPUnspecified(addr) ||
		manet.IsIP6LinkLocal(addr)
}
