package pinsvcapi

import (
	"context"

	rpc "github.com/libp2p/go-libp2p-gorpc"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

func newBackendFunc(b Backend) func(*rpc.Client) Backend {
	return func(*rpc.Client) Backend { return b }
}

// whose tells of whom each request was.
type whose struct {
	*scripted
	users chan<- pinsvc.User
}

func (w *whose) List(ctx context.Context, user pinsvc.User, q pinsvc.Query) (pinsvc.Page, error) {
	w.users <- user
	return w.scripted.List(ctx, user, q)
}

func (w *whose) Add(ctx context.Context, user pinsvc.User, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	w.users <- user
	return w.scripted.Add(ctx, user, pin)
}

func (w *whose) Get(ctx context.Context, user pinsvc.User, id string) (pinsvc.PinStatus, error) {
	w.users <- user
	return w.scripted.Get(ctx, user, id)
}

func (w *whose) Replace(ctx context.Context, user pinsvc.User, id string, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	w.users <- user
	return w.scripted.Replace(ctx, user, id, pin)
}

func (w *whose) Delete(ctx context.Context, user pinsvc.User, id string) error {
	w.users <- user
	return w.scripted.Delete(ctx, user, id)
}
