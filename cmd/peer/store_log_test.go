package peer

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	pebbleconfig "github.com/ipfs-cluster/ipfs-cluster/datastore/pebble"
)

// With a full disk pebble fails hundreds of times a second; 4,128 lines in 11 s were seen.
func TestStoreSpace_AFullDiskDoesNotFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		cfg := &pebbleconfig.Config{PebbleOptions: pebble.Options{EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { lines = append(lines, err.Error()) },
		}}}
		(&storeSpace{}).watch(cfg)
		fail := cfg.PebbleOptions.EventListener.BackgroundError
		full := fmt.Errorf("write 000012.sst: %w", syscall.ENOSPC)
		for range 4000 {
			fail(full)
			time.Sleep(2500 * time.Microsecond)
		}
		fail(errors.New("another fault"))
		fail(full)
		want := []string{full.Error(), "another fault", full.Error() + " (3999 more errors of this kind since the last line)"}
		if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("the log:\n%s", got)
		}
	})
}
