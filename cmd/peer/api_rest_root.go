package peer

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/api/rest"
)

// restRootText is the response to "/" at the REST API.
const restRootText = "not found: this is the REST API of IPFS Cluster, which has no page at this path; " +
	"try /id or /pins, or ipfs-cluster-ctl. The IPFS Pinning Service API is served elsewhere (api.pinsvcapi)"

// containRootRedirect makes upstream's REST API respond with 404 to "/", which
// it redirects to itself forever, and to paths that begin with "//", which it
// redirects to other hosts (U10 in docs/upstream-faults.md).
//
// Upstream has no way to wrap its handler, so the unexported field with its
// server is read by reflection. The servers do not serve before SetClient, so
// nothing reads the handler yet. Should the field be gone, upstream's
// behaviour stays and TestRESTRoot fails.
func containRootRedirect(built *rest.API) {
	field := reflect.ValueOf(built.API).Elem().FieldByName("server")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*http.Server]() || field.IsNil() {
		logger.Debug("the handler of the REST API was not found; its redirects stay as they are")
		return
	}
	server := (*http.Server)(field.UnsafePointer())
	server.Handler = withoutRootRedirect(server.Handler)
}

func withoutRootRedirect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path := r.URL.Path; path != "" && path != "/" && !strings.HasPrefix(path, "//") {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		// The form of upstream's own errors.
		_ = json.NewEncoder(w).Encode(api.Error{Code: http.StatusNotFound, Message: restRootText})
	})
}
