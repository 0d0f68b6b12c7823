package pinsvcapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	rpc "github.com/libp2p/go-libp2p-gorpc"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/auth"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// nothing is a backend whose answers cost nothing.
type nothing struct{ Backend }

func (nothing) Ready() error { return nil }
func (nothing) Close()       {}
func (nothing) List(context.Context, pinsvc.User, pinsvc.Query) (pinsvc.Page, error) {
	return pinsvc.Page{}, nil
}

// BenchmarkLayers is what a request costs before and after the backend.
func BenchmarkLayers(b *testing.B) {
	cfg := config.NewConfig()
	section := `{"http_listen_multiaddress": "/ip4/127.0.0.1/tcp/0", "basic_auth_credentials": {"alice": "wonderland"}}`
	if err := cfg.LoadJSON([]byte(section)); err != nil {
		b.Fatal(err)
	}
	api, err := NewAPI(b.Context(), cfg, Options{NewBackend: func(*rpc.Client) Backend { return nothing{} }})
	if err != nil {
		b.Fatal(err)
	}
	defer api.Shutdown(context.Background())
	api.SetClient(nil)
	token, err := auth.IssueToken("alice", "wonderland", time.Now())
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/pins?status=pinned&limit=10", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		api.server.Handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code, w.Body)
		}
	}
}
