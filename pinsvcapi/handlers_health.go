package pinsvcapi

import "net/http"

// showHealth is GET /health: any response means that the process is alive.
func (api *API) showHealth(*request, *http.Request) (response, error) {
	return jsonResponse(http.StatusOK, map[string]string{"status": "alive", "version": api.opts.Version})
}

// showReady is GET /ready. The readiness check before it has passed.
func (api *API) showReady(rq *request, _ *http.Request) (response, error) {
	if err := unavailable(rq.backend.Health(), "a component that the service depends on is unavailable; the log names it"); err != nil {
		return response{}, err
	}
	body := readyBody{Status: "ready"}
	if d, ok := rq.backend.(HealthDetailer); ok {
		body.Details = d.HealthDetails()
	}
	return jsonResponse(http.StatusOK, body)
}

// readyBody is the response of GET /ready.
type readyBody struct {
	Status  string   `json:"status"`
	Details []string `json:"details,omitempty"`
}
