// Bench puts the pinsvcapi of IPFS Cluster and ours on in-process peers with the
// same pins and the same IPFS stand-in, each on the consensus of its own daemon,
// and measures both with the same client in one run, in turn, beside a bare
// net/http handler that returns the same bytes behind the same authentication: the
// limit.
//
//	bench [-n 1000,10000,100000,1000000] [-posts 200000] [-peers 1,3,10,30]
//	      [-ops post,delete] [-out test/bench/out] [-page docs/performance.md] [-cpuprofile directory] [-quick]
//
// Our writes are on the disk when they are answered, upstream's are not.
//
// It prints Markdown and writes latest.json and latest.md to the output
// folder. The page has three parts, and a run writes those that it has measured: all
// operations and POSTs, the simulation of clusters, and the growth curve, which is a
// run of its own:
//
//	bench -n 10000,100000,1000000,10000000 -ops list_first,count,post -posts 0 -peers none -page docs/performance.md
//
// It is no test: missed targets are reported, and the exit code is 0.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	daemon "github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
)

// settings are what to measure.
type settings struct {
	sizes   []int
	posts   int
	args    []string
	peers   []int           // sizes of the clusters of the simulation
	ops     map[string]bool // empty: all
	out     string
	page    string // file, empty: none
	profile string // folder, empty: none
	effort  effort
}

// upstreamUpTo is the largest pinset that upstream is measured over: a list
// of its holds all pins of all peers in memory several times.
const upstreamUpTo = 100_000

func main() {
	s, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	daemon.DisableTracing() // As our daemon does. Upstream's does not, so this flatters upstream.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	result, err := s.measure(ctx)
	if err == nil {
		err = errors.Join(result.write(s.out), s.writePage(result))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	fmt.Print(result.markdown())
}

func parse(args []string) (settings, error) {
	s := settings{ops: make(map[string]bool), effort: fullEffort, args: args}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	sizes := flags.String("n", defaultSizes, "the `sizes` of the pinset, separated by commas; none: no pinset")
	ops := flags.String("ops", "", "measure only these `operations`, separated by commas")
	peers := flags.String("peers", defaultPeers, "the `sizes` of the simulated clusters, separated by commas; none: no cluster")
	quick := flags.Bool("quick", false, "see only whether it runs: 1,000 pins, few requests")
	flags.IntVar(&s.posts, "posts", defaultPosts, "how many POSTs the run by 64 clients has for each API; 0: none")
	flags.StringVar(&s.out, "out", "test/bench/out", "the `folder` of the results")
	flags.StringVar(&s.page, "page", "", "the `file` whose measured part a complete run writes; empty: none")
	flags.StringVar(&s.profile, "cpuprofile", "", "write a CPU profile of ours for each size and operation to this `folder`")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if *quick {
		*sizes, *peers, s.posts, s.effort = "1000", "1,2", 200, quickEffort
	}
	var err error
	if s.peers, err = numbers(*peers, 1, 100); err != nil {
		return s, fmt.Errorf("-peers: %w", err)
	}
	if s.sizes, err = numbers(*sizes, 1000, 100_000_000); err != nil {
		return s, fmt.Errorf("-n: %w", err)
	}
	for name := range strings.SplitSeq(*ops, ",") {
		if name != "" {
			s.ops[name] = true
		}
	}
	return s, nil
}

// numbers reads a list of numbers; "none" is an empty one.
func numbers(text string, least, most int) (list []int, err error) {
	if text == "none" || text == "" {
		return nil, nil
	}
	for each := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(each)
		if err != nil || n < least || n > most {
			return nil, fmt.Errorf("%q is no number from %d to %d", each, least, most)
		}
		list = append(list, n)
	}
	return list, nil
}
