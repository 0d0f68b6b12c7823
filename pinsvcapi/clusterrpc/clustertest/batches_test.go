package clustertest

import (
	"context"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// Peers that stop while upstream's worker of batches is busy end the process
// (U6), so that every package that uses them would fail now and then.
func TestState_StopsWhenItsBatchesAreCommitted(t *testing.T) {
	for i := range 8 {
		p := Start(t, 1, Options{BatchAge: 20 * time.Millisecond})[0]
		stop := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					pin := api.PinCid(api.NewCid(pinsvctest.RawCID(i<<16 + n)))
					if p.State.LogPin(context.Background(), pin) != nil {
						return
					}
				}
			}
		}()
		p.Close()
		close(stop)
		<-ended
	}
}
