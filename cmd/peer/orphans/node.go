package orphans

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kuborpc"
)

const (
	// pinnedLimit bounds a question about one pin, and stall the time to the next pin
	// of a scan.
	pinnedLimit, stall = 10 * time.Second, time.Minute
)

// Kubo is the Node of a Kubo, reached over its RPC.
type Kubo struct{ rpc *kuborpc.Client }

// NewKubo returns the node whose RPC is called by a client.
func NewKubo(rpc *kuborpc.Client) *Kubo { return &Kubo{rpc} }

// errStalled ends a scan of a node that reports nothing for too long.
var errStalled = errors.New("the IPFS node stopped in the middle of its pins")

// emptyDirectory is pinned in every repo that Kubo makes.
const emptyDirectory = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"

// Recursive implements Node. It reads a stream, so that many pins take no memory, and
// leaves out the pin that Kubo makes itself.
func (k *Kubo) Recursive(ctx context.Context, each func(cid.Cid) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer timer.Stop()
	stream, err := k.rpc.Stream(ctx, "pin/ls", url.Values{"type": {"recursive"}, "stream": {"true"}})
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		var pin struct{ Cid string }
		err := stream.Next(&pin)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && errors.Is(context.Cause(ctx), errStalled):
			return errStalled
		case err != nil:
			return err
		}
		timer.Reset(stall)
		if pin.Cid == emptyDirectory {
			continue
		}
		key, err := cid.Decode(pin.Cid)
		if err != nil {
			return err
		}
		if err := each(key); err != nil {
			return err
		}
	}
}

// Pinned implements Node.
func (k *Kubo) Pinned(ctx context.Context, key cid.Cid) (pinned bool, name string, err error) {
	ctx, cancel := context.WithTimeout(ctx, pinnedLimit)
	defer cancel()
	args := url.Values{"arg": {key.String()}, "type": {"recursive"}, "names": {"true"}, "stream": {"true"}}
	stream, err := k.rpc.Stream(ctx, "pin/ls", args)
	if stated, ok := errors.AsType[*kuborpc.Error](err); ok && strings.HasSuffix(stated.Message, "not pinned") {
		return false, "", nil
	}
	if err != nil {
		return false, "", err
	}
	defer stream.Close()
	var pin struct{ Name string }
	if err := stream.Next(&pin); err != nil {
		return false, "", err
	}
	return true, pin.Name, nil
}
