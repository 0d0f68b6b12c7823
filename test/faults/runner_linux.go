package faults

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// runner is one run.
type runner struct {
	*cluster
	opts     Options
	workload *workload
	problems *problems
	start    time.Time
	troubles troubles
	newcomer *newcomer // the last one
	seen     *settled  // after the last round; nil: not all was as it should be
	gone     int       // peers that were replaced, which the others may still count
	checked  int       // reads at other peers while nothing was wrong

	mu        sync.Mutex
	faults    map[FaultKind]int
	skipped   int
	samples   int
	installed int // Raft snapshots
}

// Run runs a schedule and returns what was done and found. An error is a fault of
// the runner or of its environment.
func Run(ctx context.Context, opts Options) (Summary, error) {
	r := &runner{opts: opts, start: time.Now(), faults: map[FaultKind]int{}}
	r.problems = &problems{start: r.start}
	opts.Plan.Peers = peers
	users := map[string]string{}
	for i := range opts.Clients {
		users[clientName(i)] = fmt.Sprintf("password of %s", clientName(i))
	}
	// A build during the run must not change what runs.
	service := filepath.Join(opts.Folder, filepath.Base(opts.Service))
	if err := copyProgram(opts.Service, service); err != nil {
		return Summary{}, err
	}
	var err error
	r.cluster, err = newCluster(ctx, settings{mode: opts.Mode, copies: opts.Copies, users: users}, opts.Folder, programs{service, opts.Ipfs})
	if err != nil {
		if r.cluster != nil {
			err = errors.Join(err, r.cluster.close(""))
		}
		return Summary{}, fmt.Errorf("starting the cluster: %w", err)
	}
	r.log("the cluster is ready")
	for _, n := range r.nodes {
		n.onEnd(r.ended)
	}
	if err := r.prepare(ctx, users); err != nil {
		return Summary{}, errors.Join(err, r.cluster.close(""))
	}
	r.rounds(ctx, opts.Plan.Rounds())
	if ctx.Err() == nil && len(r.problems.all()) == 0 { // A broken run ends early.
		for _, text := range r.summary().shortfalls() {
			r.problems.add(Coverage, "%s", text)
		}
	}
	evidence := ""
	if len(r.problems.all()) > 0 {
		evidence = opts.Folder
	}
	if err := r.cluster.close(evidence); err != nil {
		r.problems.add(Processes, "%v", err)
	}
	r.scanLogs()
	for _, n := range r.nodes {
		installed, err := n.installed()
		if err != nil {
			return Summary{}, err
		}
		r.installed += installed
	}
	return r.summary(), r.saveProblems()
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func clientName(i int) string { return fmt.Sprintf("client%d", i+1) }

func (r *runner) log(format string, args ...any) {
	r.opts.Log("%7.1fs %s", time.Since(r.start).Seconds(), fmt.Sprintf(format, args...))
}

// prepare adds the content to the provider, and makes the clients.
func (r *runner) prepare(ctx context.Context, users map[string]string) error {
	w := &workload{
		nodes: r.nodes, start: r.start, origin: r.provider.origin, history: &History{}, opts: r.opts.Workload,
		custody: newCustody(peers), problems: r.problems, registry: newRegistry(), expiring: map[string]bool{},
	}
	r.workload = w
	content := rand.New(rand.NewPCG(r.opts.Seed, 1))
	for i := range r.opts.Clients {
		name := clientName(i)
		c := &client{
			workload: w, name: name, who: Credentials{name, users[name]},
			rng: rand.New(rand.NewPCG(r.opts.Seed, uint64(i)+2)),
		}
		for k := range r.opts.Keys {
			cid, err := r.content(ctx, content, fmt.Sprintf("%s, key %d, seed %d", name, k, r.opts.Seed))
			if err != nil {
				return err
			}
			c.keys = append(c.keys, &key{cid: cid, home: c.rng.IntN(peers), value: Absent})
		}
		c.keys = append(c.keys, &key{cid: deadCID(r.opts.Seed, i), dead: true, home: c.rng.IntN(peers), value: Absent})
		expiring, err := r.content(ctx, content, fmt.Sprintf("%s, expiring, seed %d", name, r.opts.Seed))
		if err != nil {
			return err
		}
		c.expiring = expiring
		w.expiring[expiring] = true
		w.clients = append(w.clients, c)
	}
	for k := range r.opts.Shared {
		text := strings.Repeat(fmt.Sprintf("shared %d, seed %d\n", k, r.opts.Seed), 100)
		v0, err := r.provider.add(ctx, []byte(text), url.Values{"cid-version": {"0"}})
		if err != nil {
			return err
		}
		w.shared = append(w.shared, &key{cid: canonical(v0), form: v0, shared: true, stays: k%2 == 1})
	}
	return nil
}

// content adds content to the provider: mostly one block, sometimes several.
func (r *runner) content(ctx context.Context, rng *rand.Rand, text string) (string, error) {
	size := 100 + rng.IntN(2000)
	if rng.IntN(10) == 0 {
		size = 600_000
	}
	return r.provider.add(ctx, []byte(strings.Repeat(text+"\n", size/len(text)+1)), url.Values{"cid-version": {"1"}})
}

// rounds runs all rounds.
func (r *runner) rounds(ctx context.Context, rounds []Round) {
	initial := map[string]Value{}
	for i, round := range rounds {
		r.log("round %d of %d: %v with %d faults", i+1, len(rounds), round.Load, len(round.Faults))
		r.before(ctx, round)
		r.load(ctx, round)
		r.heal(ctx)
		r.settle(ctx)
		initial = r.finish(ctx, i, initial)
		r.log("round %d of %d ends: %d writes acknowledged so far, %d problems", i+1, len(rounds),
			r.workload.count.acknowledged.Load(), len(r.problems.all()))
		// What follows a broken round would tell of the same again.
		if ctx.Err() != nil || len(r.problems.all()) > 0 {
			return
		}
	}
}

// before lets happen what happens between two rounds.
func (r *runner) before(ctx context.Context, round Round) {
	for i, f := range round.Before {
		empty := f.Kind == ReplaceFolder || f.Kind == ReplacePeer
		if empty {
			r.leave(r.nodes[f.Peer])
		}
		r.happen(ctx, f)
		if empty {
			r.workload.custody.wiped(f.Peer, time.Since(r.start))
		}
		if f.Kind == ReplacePeer && r.opts.Mode != Raft { // Raft's peerset knows that it is gone.
			r.gone++
		}
		r.heal(ctx)
		// Clients can do without a newcomer, but not without two.
		if empty && r.opts.Copies == 0 && i == len(round.Before)-1 {
			r.agree(ctx, r.others(), settleTimeout)
			continue
		}
		r.settle(ctx)
	}
}

// load lets the clients send requests while the faults happen.
func (r *runner) load(ctx context.Context, round Round) {
	r.acquainted(ctx)
	until := time.Now().Add(round.Load)
	loaded, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	var clients, happening sync.WaitGroup
	for _, c := range r.workload.clients {
		clients.Go(func() { c.run(ctx, until, r.opts.ClientPause) })
	}
	begin := time.Now()
	happening.Go(func() { r.sample(loaded) })
	happening.Go(func() { r.welcome(loaded) })
	for _, f := range round.Faults {
		backoff.Sleep(loaded, f.At-time.Since(begin))
		if loaded.Err() != nil {
			break
		}
		happening.Go(func() { r.happen(loaded, f) })
	}
	clients.Wait()
	cancel()
	happening.Wait()
}

// happen lets one fault happen and counts it.
func (r *runner) happen(ctx context.Context, f Fault) {
	r.log("%s", f)
	ended := r.troubles.began(time.Since(r.start))
	err := r.inject(ctx, f)
	ended(time.Since(r.start))
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case errors.Is(err, errBusy):
		r.skipped++
		return
	case err != nil && f.Kind != Garbage && f.Kind != KillKubo: // These find a node that is away.
		r.problems.add(Processes, "%s: %v", f, err)
	}
	r.faults[f.Kind]++
}

// ended is called when a daemon ends by itself. It is started again, as the
// system does.
func (r *runner) ended(n *node, err error) {
	r.problems.add(Processes, "%s ended by itself: %v; see %s", n.name, err, n.logFile)
	n.action.Lock()
	defer n.action.Unlock()
	if !n.running() {
		if err := n.start(); err != nil {
			r.problems.add(Processes, "%s: %v", n.name, err)
		}
	}
}

// sampleEvery is the time between two looks at what the nodes have pinned.
const sampleEvery = time.Second

// sample asks the nodes again and again what they have pinned.
func (r *runner) sample(ctx context.Context) {
	for ctx.Err() == nil {
		var wg sync.WaitGroup
		for _, n := range r.nodes {
			wg.Go(func() { r.sampleNode(ctx, n) })
		}
		wg.Wait()
		backoff.Sleep(ctx, sampleEvery)
	}
}

func (r *runner) sampleNode(ctx context.Context, n *node) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	asked := time.Since(r.start)
	pins, err := n.kubo().pins(ctx)
	if err != nil {
		return // It is away: what it has is not known.
	}
	r.mu.Lock()
	r.samples++
	r.mu.Unlock()
	l := listing{asked: asked, answered: time.Since(r.start), pins: pins}
	for _, text := range r.workload.custody.listed(n.index, l) {
		r.problems.add(Custody, "%s", text)
	}
}

// heal waits until all peers run and are ready. The faults have ended.
func (r *runner) heal(ctx context.Context) {
	r.log("healing")
	if err := r.waitReady(ctx); err != nil {
		r.problems.add(Recovery, "after healing: %v", err)
	}
}

// save writes the history of a round. Those of the last two are kept: all before were right.
func (r *runner) save(round int, ops []Op) error {
	path := func(round int) string { return filepath.Join(r.opts.Folder, fmt.Sprintf("history-%d.jsonl", round+1)) }
	if err := os.Remove(path(round - 2)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path(round), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	return errors.Join(writeOps(w, ops), w.Flush(), f.Close())
}

// saveProblems writes all problems.
func (r *runner) saveProblems() error {
	var text strings.Builder
	for _, p := range r.problems.all() {
		fmt.Fprintln(&text, p)
	}
	return os.WriteFile(filepath.Join(r.opts.Folder, "problems.txt"), []byte(text.String()), 0o600)
}

// crash is what a Go program writes when it ends by a fault of its own, or when
// it sees a data race.
var crash = regexp.MustCompile(`(?m)^(panic: |fatal error: |` + harness.DataRace + `|SIGSEGV).*$`)

// scanLogs reports crashes and data races.
func (r *runner) scanLogs() {
	for _, path := range r.logs() {
		raw, err := os.ReadFile(path)
		if err != nil {
			r.problems.add(Processes, "%v", err)
		}
		for _, at := range crash.FindAllIndex(raw, -1) {
			r.problems.add(Processes, "%s: %s", path, raw[at[0]:min(len(raw), at[0]+4000)])
		}
	}
}

func (r *runner) summary() Summary {
	c := &r.workload.count
	return Summary{
		Mode: r.opts.Mode, Seed: r.opts.Seed, Copies: r.opts.Copies, Planned: r.opts.Total, Took: time.Since(r.start), Folder: r.opts.Folder,
		Faults: r.faults, Skipped: r.skipped,
		Acknowledged: c.acknowledged.Load(), Failed: c.failed.Load(), Unanswered: c.unanswered.Load(), Refused: c.refused.Load(),
		Reads: c.reads.Load(), Checked: r.checked, Confirmed: c.confirmed.Load(), Samples: r.samples,
		Installed: r.installed, Problems: r.problems.all(),
	}
}

// deadCID is the CID of content that nobody has.
func deadCID(seed uint64, client int) string {
	hash, err := multihash.Sum(fmt.Appendf(nil, "nobody has it: %d, %d", seed, client), multihash.SHA2_256, -1)
	if err != nil {
		panic(err) // The function and its length are constants.
	}
	return cid.NewCidV1(cid.Raw, hash).String()
}
