package faults

import (
	"cmp"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

var (
	mode     = flag.String("faults.mode", "", "crdt, batching or raft; without it a short run of each")
	duration = flag.Duration("faults.duration", 30*time.Minute, "of the load")
	seed     = flag.Uint64("faults.seed", 0, "determines the schedule and the requests; 0: one by chance")
	round    = flag.Duration("faults.round", 3*time.Minute, "the longest time between two checks")
	gap      = flag.Duration("faults.gap", 5*time.Second, "mean time between two faults")
	kinds    = flag.String("faults.kinds", "", "the faults that may happen, separated by commas; without it all")
	calm     = flag.Duration("faults.calm", 15*time.Second, "without faults at the beginning of each round")
	clients  = flag.Int("faults.clients", 0, "clients that send requests at once; 0: as many as the length of the run allows")
	think    = flag.Duration("faults.pause", 40*time.Millisecond, "mean time between two requests of a client")
	copies   = flag.Int("faults.copies", 0, "how many of the three peers keep each pin; 0: all; without a mode for the runs that do not say")
	out      = flag.String("faults.out", "", "the folder for logs and histories")
)

// shortClients send requests in the short runs, whose processes have the race detector. A long run
// has as many as it takes for 50,000 acknowledged writes in half an hour on two cores, of which the
// faults take a part.
const shortClients, longClients = 16, 48

func options(t *testing.T, folder string) Options {
	t.Helper()
	return Options{
		Folder: folder, Service: harness.Service(t), Ipfs: harness.Ipfs(t), Log: t.Logf,
		Workload: Workload{Clients: cmp.Or(*clients, shortClients), Keys: 24, Shared: 12, ClientPause: *think},
	}
}

// TestFaults is the run that the flags ask for, or else a short one of each mode.
func TestFaults(t *testing.T) {
	if *mode != "" {
		t.Run(*mode, long)
		return
	}
	for _, m := range Modes() {
		t.Run(string(m), func(t *testing.T) {
			opts := options(t, folder(t))
			opts.Plan = short(m)
			opts.Copies = cmp.Or(opts.Copies, *copies)
			run(t, opts)
		})
	}
}

func long(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano() % 1_000_000)
	}
	t.Logf("seed %d", *seed)
	opts := options(t, folder(t))
	opts.Clients = cmp.Or(*clients, longClients)
	opts.Plan = Plan{Seed: *seed, Mode: Mode(*mode), Total: *duration, Round: *round, Pause: *gap, Peers: peers, Calm: *calm, Copies: *copies}
	if err := opts.Mode.validate(); err != nil {
		t.Fatal(err)
	}
	if opts.Copies < 0 || opts.Copies > peers {
		t.Fatalf("%d copies at %d peers", opts.Copies, peers)
	}
	for kind := range strings.SplitSeq(*kinds, ",") {
		if kind != "" {
			opts.Kinds = append(opts.Kinds, FaultKind(kind))
		}
	}
	run(t, opts)
}

// folder is where logs and histories go. It stays when the test fails.
func folder(t *testing.T) string {
	t.Helper()
	path := *out
	if path == "" {
		var err error
		if path, err = os.MkdirTemp("", "faults-"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if !t.Failed() {
				_ = os.RemoveAll(path)
			}
		})
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, opts Options) {
	t.Helper()
	summary, err := Run(t.Context(), opts)
	if err != nil {
		t.Fatalf("%v; logs are in %s", err, opts.Folder)
	}
	t.Logf("\n%s", summary)
	if len(summary.Problems) > 0 {
		t.Errorf("%d problems; all are in %s/problems.txt, the logs and the history beside it", len(summary.Problems), opts.Folder)
	}
}
