package pinsvcapi

import (
	"net/http"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// listPins is GET /pins.
func (api *API) listPins(rq *request, r *http.Request) (response, error) {
	rq.event.addCIDs(rq.query.CIDs...)
	page, err := rq.backend.List(r.Context(), rq.caller.User, rq.query)
	if err != nil {
		return response{}, err
	}
	results := len(page.Rows)
	rq.event.Results = &results
	return api.pageResponse(rq, page)
}

// addPin is POST /pins.
func (api *API) addPin(rq *request, r *http.Request) (response, error) {
	pin, err := api.decodePin(rq, r)
	if err != nil {
		return response{}, err
	}
	st, err := rq.backend.Add(r.Context(), rq.caller.User, pin)
	if err != nil {
		return response{}, err
	}
	return api.objectResponse(http.StatusAccepted, &st)
}

// getPin is GET /pins/{requestid}.
func (api *API) getPin(rq *request, r *http.Request) (response, error) {
	st, err := rq.backend.Get(r.Context(), rq.caller.User, rq.pinID())
	if err != nil {
		return response{}, err
	}
	return api.objectResponse(http.StatusOK, &st)
}

// replacePin is POST /pins/{requestid}.
func (api *API) replacePin(rq *request, r *http.Request) (response, error) {
	id := rq.pinID()
	pin, err := api.decodePin(rq, r)
	if err != nil {
		return response{}, err
	}
	st, err := rq.backend.Replace(r.Context(), rq.caller.User, id, pin)
	if err != nil {
		return response{}, err
	}
	return api.objectResponse(http.StatusAccepted, &st)
}

// deletePin is DELETE /pins/{requestid}.
func (api *API) deletePin(rq *request, r *http.Request) (response, error) {
	if err := rq.backend.Delete(r.Context(), rq.caller.User, rq.pinID()); err != nil {
		return response{}, err
	}
	return response{status: http.StatusAccepted}, nil
}

// pinID is the request ID of the specification in the path: that of a pin,
// and not of this HTTP request.
func (rq *request) pinID() string {
	id := rq.route.vars["requestid"]
	if _, err := pinsvc.ParseCID(id); err == nil {
		rq.event.CIDs = append(rq.event.CIDs, clip(id))
	}
	return id
}

// decodePin reads the body of a request.
func (api *API) decodePin(rq *request, r *http.Request) (pinsvc.Pin, error) {
	var body []byte
	if read, ok := r.Body.(bodyInMemory); ok { // Else there is none.
		body = read.Bytes()
	}
	pin, dropped, err := api.decoder.Decode(body)
	if err != nil {
		return pin, err
	}
	rq.event.addCIDs(pin.CID)
	rq.event.DroppedOrigins = dropped.Unknown + dropped.Excess
	api.metrics.droppedOrigins.WithLabelValues(originUnknown).Add(float64(dropped.Unknown))
	api.metrics.droppedOrigins.WithLabelValues(originExcess).Add(float64(dropped.Excess))
	if !api.cfg.RefusePrivateOrigins {
		return pin, nil
	}
	for _, origin := range pin.Origins {
		if isPrivate(origin) {
			return pinsvc.Pin{}, pinsvc.Errorf(pinsvc.KindBadRequest,
				"origins: %s is a private or loopback address; this service does not accept these (refuse_private_origins)", origin)
		}
	}
	return pin, nil
}

// isPrivate is true for addresses that mean something only on the machine or
// the network of their owner. Names, relays and onion services are not.
func isPrivate(addr multiaddr.Multiaddr) bool {
	return manet.IsPrivateAddr(addr) || manet.IsIPLoopback(addr) || manet.IsIPUnspecified(addr) ||
		manet.IsIP6LinkLocal(addr)
}
