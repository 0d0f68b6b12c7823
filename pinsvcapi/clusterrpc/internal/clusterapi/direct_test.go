package clusterapi

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// consensus is a component with a state of at most one pin.
type consensus struct {
	state.ReadOnly
	pin   *api.Pin
	away  error
	calls []string
}

func (c *consensus) State(context.Context) (state.ReadOnly, error) { return c, c.away }

func (c *consensus) Get(_ context.Context, key api.Cid) (api.Pin, error) {
	if c.pin == nil || c.pin.Cid != key {
		return api.Pin{}, state.ErrNotFound
	}
	return *c.pin, nil
}

func (c *consensus) LogPin(_ context.Context, pin api.Pin) error {
	c.calls, c.pin = append(c.calls, "pin"), &pin
	return c.away
}

func (c *consensus) LogUnpin(_ context.Context, pin api.Pin) error {
	c.calls = append(c.calls, "unpin "+pin.Cid.String())
	c.pin = nil
	return c.away
}

// Nothing of a single record goes by RPC, and errors are those of the component.
func TestClient_Direct(t *testing.T) {
	own := &consensus{}
	client := New(nil).Direct(own)
	key := api.NewCid(pinsvctest.RawCID(1))
	if _, err := client.PinGet(t.Context(), key); !IsNotFound(err) {
		t.Errorf("a pin that is not there: %v", err)
	}
	if err := client.LogPin(t.Context(), api.PinWithOpts(key, api.PinOptions{Name: "one"})); err != nil {
		t.Error(err)
	}
	if pin, err := client.PinGet(t.Context(), key); err != nil || pin.Name != "one" {
		t.Errorf("%+v, %v", pin, err)
	}
	if err := client.LogUnpin(t.Context(), key); err != nil {
		t.Error(err)
	}
	if want := []string{"pin", "unpin " + key.String()}; !slices.Equal(own.calls, want) {
		t.Errorf("calls %q, want %q", own.calls, want)
	}
	own.away = errors.New("away")
	_, errGet := client.PinGet(t.Context(), key)
	if err := errors.Join(errGet, client.LogPin(t.Context(), api.Pin{}), client.LogUnpin(t.Context(), key)); !errors.Is(errGet, own.away) || err == nil {
		t.Errorf("%v", err)
	}
}
