package main

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// effort is how long is measured.
type effort struct {
	rounds   int           // how often each subject has its turn
	turn     time.Duration // about how long a turn is
	parallel time.Duration // of throughput, for each of two turns
	// sustained is that of throughput where it counts what was requested before: three times
	// status_max_age.
	sustained time.Duration
	settle    time.Duration // how long a peer may take to come to rest
	// clusterPins are made by each cluster of the simulation, whose peers do
	// nothing for the time idle before.
	clusterPins int
	idle        time.Duration
}

var (
	fullEffort  = effort{rounds: 12, turn: 40 * time.Millisecond, parallel: 750 * time.Millisecond, sustained: 30 * time.Second, settle: time.Minute, clusterPins: 1000, idle: 20 * time.Second}
	quickEffort = effort{rounds: 2, turn: 10 * time.Millisecond, parallel: 50 * time.Millisecond, sustained: 100 * time.Millisecond, settle: time.Second, clusterPins: 20, idle: 100 * time.Millisecond}
)

const (
	// slow is from when on a subject has fewer turns, of one request each,
	// and its throughput is not measured with all connections, since that
	// many of its responses may not fit into memory.
	slow            = 20 * time.Millisecond
	verySlow        = 200 * time.Millisecond
	verySlowRounds  = 5
	slowConnections = 4
	// garbage is what a turn may leave without being collected before the
	// next subject's.
	garbage = 64 << 20
)

// row is one line of the result.
type row struct {
	N       int     `json:"n"`
	Op      string  `json:"op"`
	Subject string  `json:"subject"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	RPS     float64 `json:"rps"`
	// CPU is what the process computes for a request of many connections, in microseconds; zero: too
	// little to tell.
	CPU   float64 `json:"cpu_us"`
	Alloc float64 `json:"alloc_b"`
}

// run measures one operation of one subject.
type run struct {
	bench   *bench
	op      op
	subject string
	batch   int
	took    []time.Duration
	alloc   uint64
	rps     float64
	// computed is for the requests of many connections, answered is how many.
	computed time.Duration
	answered int64
	buf      bytes.Buffer
}

// measure measures an operation for all subjects in turn, so that what
// disturbs the machine disturbs all of them.
func (b *bench) measure(ctx context.Context, n int, o op, subjects []string, e effort) ([]row, error) {
	if err := b.prepare(ctx, o); err != nil {
		return nil, err
	}
	var runs []*run
	for _, subject := range subjects {
		r := &run{bench: b, op: o, subject: subject}
		if err := r.warmUp(ctx, e); err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	for round := range e.rounds {
		// Whoever comes after another in one round comes before it in the
		// next.
		slices.Reverse(runs)
		for _, r := range runs {
			if round >= verySlowRounds && r.took[0] > verySlow {
				continue
			}
			if err := r.turn(ctx); err != nil {
				return nil, err
			}
		}
	}
	for range 2 {
		slices.Reverse(runs)
		for _, r := range runs {
			if err := r.throughput(ctx, e); err != nil {
				return nil, err
			}
		}
	}
	var rows []row
	for _, r := range runs {
		rows = append(rows, r.row(n))
	}
	return rows, nil
}

// warmUp finds out how many requests make a turn.
func (r *run) warmUp(ctx context.Context, e effort) error {
	var took []time.Duration
	for begin := time.Now(); len(took) == 0 || time.Since(begin) < e.turn; {
		t, ok, err := r.once(ctx)
		if err != nil {
			return err
		}
		if !ok && len(took) > 0 {
			// All that was posted is deleted: these times are all there are.
			r.took = took
			break
		}
		if !ok {
			return fmt.Errorf("%s %s: nothing to do", r.subject, r.op.name)
		}
		took = append(took, t)
	}
	r.batch = max(1, int(e.turn/quantile(took, 0.5)))
	return nil
}

// once sends one request, unless there is nothing left to do.
func (r *run) once(ctx context.Context) (took time.Duration, ok bool, err error) {
	request, ok := r.op.next(r.subject)
	if !ok {
		return 0, false, nil
	}
	took, err = r.bench.client.do(ctx, r.bench.urls[r.subject], request, &r.buf)
	return took, true, err
}

// turn measures one batch of requests, one after the other.
func (r *run) turn(ctx context.Context) error {
	before := allocated()
	for range r.batch {
		t, ok, err := r.once(ctx)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		r.took = append(r.took, t)
	}
	alloc := allocated() - before
	r.alloc += alloc
	if alloc > garbage {
		runtime.GC()
	}
	return nil
}

// allocated is how many bytes this process has ever allocated, the client's
// included.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// throughput measures requests per second with many connections; of two
// turns the better one counts, and the first where it is long.
func (r *run) throughput(ctx context.Context, e effort) error {
	n, duration := connections, e.parallel
	if r.op.sustained && r.subject == ours {
		if r.rps > 0 {
			return nil
		}
		duration = e.sustained
	}
	if p50 := quantile(r.took, 0.5); p50 > slow {
		if r.rps > 0 || r.op.name != "list_first" {
			return nil
		}
		n, duration = slowConnections, 0 // One request of each.
	}
	before := allocated()
	rps, err := r.parallel(ctx, n, duration)
	r.rps = max(r.rps, rps)
	if allocated()-before > garbage {
		runtime.GC()
	}
	return err
}

// parallel lets n clients send requests for that long, at least one each.
func (r *run) parallel(ctx context.Context, n int, duration time.Duration) (rps float64, err error) {
	var (
		clients sync.WaitGroup
		done    atomic.Int64
		failure atomic.Pointer[error]
	)
	begin, computed := time.Now(), now()
	for range n {
		clients.Go(func() {
			var buf bytes.Buffer
			for first := true; first || time.Since(begin) < duration; first = false {
				request, ok := r.op.next(r.subject)
				if !ok {
					return
				}
				if _, err := r.bench.client.do(ctx, r.bench.urls[r.subject], request, &buf); err != nil {
					failure.Store(&err)
					return
				}
				done.Add(1)
			}
		})
	}
	clients.Wait()
	if err := failure.Load(); err != nil {
		return 0, *err
	}
	took := computed.until()
	r.computed, r.answered = r.computed+took.cpu, r.answered+done.Load()
	return float64(done.Load()) / took.wall.Seconds(), nil
}

func (r *run) row(n int) row {
	out := row{
		N: n, Op: r.op.name, Subject: r.subject,
		P50:   microseconds(quantile(r.took, 0.5)),
		P99:   microseconds(quantile(r.took, 0.99)),
		RPS:   r.rps,
		Alloc: float64(r.alloc) / float64(len(r.took)),
	}
	if r.answered > 0 {
		out.CPU = microseconds(r.computed) / float64(r.answered)
	}
	if out.RPS == 0 {
		// Too slow for all connections: what one connection gets.
		out.RPS = 1e6 / out.P50
	}
	return out
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// quantile is that of what was measured, q from 0 to 1.
func quantile(took []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
