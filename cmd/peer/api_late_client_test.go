package peer

import (
	"context"
	"errors"
	"testing"

	rpc "github.com/libp2p/go-libp2p-gorpc"
)

// scriptedAPI is an API that keeps its client and fails to stop.
type scriptedAPI struct{ client *rpc.Client }

func (a *scriptedAPI) SetClient(client *rpc.Client) { a.client = client }

func (a *scriptedAPI) Shutdown(context.Context) error { return errors.New("it does not stop") }

// The client reaches the API once all components have theirs, and an API that
// does not stop does not keep the cluster from stopping the rest.
func TestLateClientAPI(t *testing.T) {
	inner := &scriptedAPI{}
	late := &lateClientAPI{API: inner, name: "api.test"}
	late.connect()
	late.SetClient(&rpc.Client{})
	if inner.client != nil {
		t.Error("the API has its client before the other components")
	}
	late.connect()
	if inner.client == nil {
		t.Error("the API has no client")
	}
	noError(t, late.Shutdown(t.Context()))
}
