package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"
)

// size is what was measured beside the operations.
type size struct {
	n       int
	seeding time.Duration
	// starting is from the start to ready, iterating how long it takes to read all
	// records of the same state, with nothing else, and scanning all of its datastore.
	starting, iterating, scanning timed
	// syncing is how long one small write to the same store takes until it is on the disk.
	syncing         time.Duration
	viewBytesPerPin float64
	memory          memory
}

// result is all of a run.
type result struct {
	machine string
	args    []string // of the run
	began   time.Time
	took    time.Duration
	rows    []row
	sizes   []size
	posts   []*posts
	// clusters are those of the simulation, by their number of peers.
	clusters []*clusterCost
}

// progress prints what the run is doing to standard error.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (s settings) measure(ctx context.Context) (*result, error) {
	r := &result{machine: machine(), args: s.args, began: time.Now()}
	for _, n := range s.sizes {
		if err := s.measureSize(ctx, n, r); err != nil {
			return nil, fmt.Errorf("%d pins: %w", n, err)
		}
		release()
	}
	if s.posts >= tenths {
		progress("%d POSTs by %d clients", s.posts, connections)
		var err error
		if r.posts, err = measurePosts(ctx, s.posts); err != nil {
			return nil, fmt.Errorf("POSTs: %w", err)
		}
	}
	for _, n := range s.peers {
		progress("a cluster of %d", n)
		cost, err := s.measureCluster(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("a cluster of %d: %w", n, err)
		}
		r.clusters = append(r.clusters, cost)
	}
	r.took = time.Since(r.began)
	return r, nil
}

// measureSize measures everything over n pins.
func (s settings) measureSize(ctx context.Context, n int, r *result) (err error) {
	progress("%d pins", n)
	this := size{n: n, viewBytesPerPin: viewBytesPerPin(n)}
	subjects := []string{ours, theLimit}
	b, err := openBench(ctx, n, subjects...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	this.seeding, this.starting, this.iterating, this.scanning = b.seeding, b.starting, b.iterating, b.scanning
	progress("  written in %.1f s, read in %.1f s, ready after %.1f s", b.seeding.Seconds(), b.iterating.wall.Seconds(), b.starting.wall.Seconds())
	if err := b.holdPins(ctx, ours); err != nil {
		return err
	}
	settle(ctx, s.effort.settle)
	this.memory = b.memory()
	if err := s.profileHeap(n); err != nil {
		return err
	}
	if this.syncing, err = b.sync(ctx); err != nil {
		return err
	}
	r.sizes = append(r.sizes, this)
	if n <= upstreamUpTo {
		if err := b.openTwin(ctx, n); err != nil {
			return err
		}
		settle(ctx, s.effort.settle)
		subjects = []string{ours, theirs, theLimit}
	}
	for _, o := range b.ops(n) {
		if len(s.ops) > 0 && !s.ops[o.name] {
			continue
		}
		rows, err := b.measure(ctx, n, o, subjects, s.effort)
		if err != nil {
			return err
		}
		for _, row := range rows {
			progress("  %-18s %-9s p50 %10.1f us  p99 %10.1f us %10.0f/s %8.0f us CPU %12.0f B", row.Op, row.Subject, row.P50, row.P99, row.RPS, row.CPU, row.Alloc)
		}
		r.rows = append(r.rows, rows...)
		if err := s.profileOp(ctx, b, n, o); err != nil {
			return err
		}
	}
	return nil
}

// profileHeap writes what of the heap is in use.
func (s settings) profileHeap(n int) (err error) {
	if s.profile == "" {
		return nil
	}
	if err := os.MkdirAll(s.profile, 0o755); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(s.profile, fmt.Sprintf("%d-heap.pprof", n)))
	if err != nil {
		return err
	}
	return errors.Join(pprof.WriteHeapProfile(file), file.Close())
}

// profiled is how long a profile takes.
const profiled = 3 * time.Second

// profileOp writes CPU profiles of ours (and of the client) under load and with one client
// alone, and what was allocated until before and after the load: pprof -base shows the difference.
func (s settings) profileOp(ctx context.Context, b *bench, n int, o op) (err error) {
	if s.profile == "" {
		return nil
	}
	if err := os.MkdirAll(s.profile, 0o755); err != nil {
		return err
	}
	if err := s.writeAllocs(n, o, "before"); err != nil {
		return err
	}
	r := &run{bench: b, op: o, subject: ours}
	for name, clients := range map[string]int{o.name: connections, o.name + "-alone": 1} {
		if err := s.profileRun(ctx, r, fmt.Sprintf("%d-%s.pprof", n, name), clients); err != nil {
			return err
		}
	}
	return s.writeAllocs(n, o, "after")
}

// profileRun writes the CPU profile of a run to a file.
func (s settings) profileRun(ctx context.Context, r *run, name string, clients int) (err error) {
	file, err := os.Create(filepath.Join(s.profile, name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := pprof.StartCPUProfile(file); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	_, err = r.parallel(ctx, clients, profiled)
	return err
}

func (s settings) writeAllocs(n int, o op, when string) (err error) {
	file, err := os.Create(filepath.Join(s.profile, fmt.Sprintf("%d-%s-allocs-%s.pprof", n, o.name, when)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return pprof.Lookup("allocs").WriteTo(file, 0)
}
