package peer

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	pebbleconfig "github.com/ipfs-cluster/ipfs-cluster/datastore/pebble"
	logging "github.com/ipfs/go-log/v2"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// What a configuration has, by default and loaded, and what a program may make of it: no listener is left that
// logs each error.
func TestStoreSpace_EachConfigurationLimitsTheLog(t *testing.T) {
	with := func(change func(*pebbleconfig.Config)) *pebbleconfig.Config {
		cfg := &pebbleconfig.Config{}
		noError(t, cfg.Default())
		if change != nil {
			change(cfg)
		}
		return cfg
	}
	for name, cfg := range map[string]*pebbleconfig.Config{
		"default": with(nil),
		"loaded": with(func(c *pebbleconfig.Config) {
			noError(t, c.LoadJSON([]byte(`{"pebble_options": {"max_open_files": 100}}`)))
		}),
		"daemon's": loaded(t, upstreamFiles(t, "crdt", "pebble")).Helper.Configs().Pebble,
		"no listener": with(func(c *pebbleconfig.Config) {
			c.PebbleOptions.EventListener = nil
		}),
		"another listener": with(func(c *pebbleconfig.Config) {
			c.PebbleOptions.EventListener = &pebble.EventListener{FlushBegin: func(pebble.FlushInfo) {}}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			const times = 200
			pipe := logging.NewPipeReader(logging.PipeLevel(logging.LevelError))
			lines, ended := 0, make(chan struct{})
			go func() {
				defer close(ended)
				for scanner := bufio.NewScanner(pipe); scanner.Scan(); {
					if strings.Contains(scanner.Text(), t.Name()) {
						lines++
					}
				}
			}()
			(&storeSpace{}).watch(cfg)
			// As pebble.Open does; what is there is kept.
			cfg.PebbleOptions.EnsureDefaults()
			for range times {
				cfg.PebbleOptions.EventListener.BackgroundError(fmt.Errorf("%s: %w", t.Name(), syscall.ENOSPC))
			}
			noError(t, pipe.Close())
			await.Closed(t, "the end of the log", ended)
			if lines != 1 {
				t.Errorf("%d lines of %d errors", lines, times)
			}
		})
	}
}

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
