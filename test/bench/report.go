package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// viewRow is the one row of a size that is no operation.
type viewRow struct {
	N     int     `json:"n"`
	Op    string  `json:"op"`
	Value float64 `json:"value"`
}

// write puts latest.json and latest.md into a folder.
func (r *result) write(dir string) error {
	var all []any
	for _, row := range r.rows {
		all = append(all, row)
	}
	for _, s := range r.sizes {
		all = append(all, viewRow{s.n, "view_bytes_per_pin", s.viewBytesPerPin})
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "latest.json"), append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "latest.md"), []byte(r.markdown()), 0o644)
}

// markdown is the whole result for people.
func (r *result) markdown() string {
	text := r.complete()
	if len(r.clusters) > 0 {
		text += "\n" + r.simulated()
	}
	return text
}

// complete is all but the simulation.
func (r *result) complete() string {
	var b strings.Builder
	r.writeHead(&b)
	for _, s := range r.sizes {
		fmt.Fprintf(&b, "\n#### %s pins\n\n", thousands(s.n))
		r.writeOps(&b, s.n)
	}
	fmt.Fprint(&b, notes)
	r.writeSizes(&b)
	r.writePosts(&b)
	r.writeTargets(&b)
	return b.String()
}

// growth is how start, memory and writes grow with the pinset.
func (r *result) growth() string {
	var b strings.Builder
	r.writeHead(&b)
	r.writeSizes(&b)
	return b.String()
}

// simulated is what a pin costs clusters of some sizes.
func (r *result) simulated() string {
	var b strings.Builder
	r.writeHead(&b)
	r.writeClusters(&b)
	return b.String()
}

func (r *result) writeHead(b *strings.Builder) {
	fmt.Fprintf(b, "Measured on %s, %s, in one run of %s", r.machine, r.began.Format("2006-01-02"), r.took.Round(time.Second))
	if args := strings.Join(r.args, " "); args != "" {
		fmt.Fprintf(b, ": `bench %s`", args)
	}
	fmt.Fprintln(b, ".")
}

// notes describe the columns.
const notes = `
Times are of one request after the other on a connection that is kept alive, client included. ` +
	`Requests per second are those of 64 connections; where one request of upstream takes longer than 20 ms, ` +
	`those of 4 connections (list_first) or of one. The CPU of one is what the process computes for each of these requests, client included, ` +
	`which on a machine in use is steadier than times. Bytes are what the process allocates for a request, client included. ` +
	`Upstream at 1,000,000 is not measured: "~" is ten times what it took at 100,000 in this run.
`

func (r *result) writeOps(b *strings.Builder, n int) {
	fmt.Fprintln(b, "| | ours p50 / p99 | upstream p50 / p99 | limit p50 / p99 | ours : limit | upstream : ours | requests/s ours, upstream, limit | CPU of one ours, upstream, limit | bytes ours, upstream, limit |")
	fmt.Fprintln(b, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	for _, own := range r.rows {
		if own.N != n || own.Subject != ours {
			continue
		}
		other, hasOther := r.find(n, own.Op, theirs)
		bare, _ := r.find(n, own.Op, theLimit)
		theirTimes, theirRatio, theirRPS, theirCPU, theirBytes := "", "", "-", "-", "-"
		switch extrapolated, ok := r.extrapolated(n, own.Op); {
		case hasOther:
			theirTimes = times(other)
			theirRatio = fmt.Sprintf("%.3gx", other.P50/own.P50)
			theirRPS, theirCPU, theirBytes = short(other.RPS), duration(other.CPU), short(other.Alloc)
		case ok:
			theirTimes = "~" + duration(extrapolated)
			theirRatio = fmt.Sprintf("~%.3gx", extrapolated/own.P50)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %.2fx | %s | %s, %s, %s | %s, %s, %s | %s, %s, %s |\n", own.Op,
			times(own), theirTimes, times(bare), own.P50/bare.P50, theirRatio,
			short(own.RPS), theirRPS, short(bare.RPS),
			duration(own.CPU), theirCPU, duration(bare.CPU),
			short(own.Alloc), theirBytes, short(bare.Alloc))
	}
}

// extrapolated is what a list of all pins would take upstream at
// a million pins, in microseconds.
func (r *result) extrapolated(n int, op string) (float64, bool) {
	at100k, ok := r.find(upstreamUpTo, op, theirs)
	const fullScan = 100_000 // Less than 100 ms at 100,000 pins is none.
	return at100k.P50 * float64(n) / upstreamUpTo, ok && n > upstreamUpTo && at100k.P50 > fullScan
}

func (r *result) writeSizes(b *strings.Builder) {
	fmt.Fprintln(b, "\n| pins | all keys and values, CPU | reading the state, CPU | from start to ready, CPU | ready : reading, CPU | first page | count | POST alone | POST, 64 clients | one sync |")
	fmt.Fprintln(b, "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	for _, s := range r.sizes {
		read, start := s.iterating, s.starting
		fmt.Fprintf(b, "| %s | %.1f s, %.1f s | %.1f s, %.1f s | %.1f s, %.1f s | %.2fx, %.2fx |", thousands(s.n), s.scanning.wall.Seconds(), s.scanning.cpu.Seconds(), read.wall.Seconds(), read.cpu.Seconds(),
			start.wall.Seconds(), start.cpu.Seconds(), start.wall.Seconds()/read.wall.Seconds(), start.cpu.Seconds()/max(read.cpu.Seconds(), 0.01))
		for _, op := range []string{"list_first", "count", "post"} {
			row, ok := r.find(s.n, op, ours)
			if !ok {
				fmt.Fprint(b, " - |")
				continue
			}
			fmt.Fprintf(b, " %s |", duration(row.P50))
		}
		if post, ok := r.find(s.n, "post", ours); ok {
			fmt.Fprintf(b, " %s/s |", short(post.RPS))
		} else {
			fmt.Fprint(b, " - |")
		}
		fmt.Fprintf(b, " %s |\n", duration(microseconds(s.syncing)))
	}
	fmt.Fprint(b, memoryNotes)
	fmt.Fprintln(b, "| pins | resident at rest | peak of the start | Go's heap in use | of it the view | cache of the datastore | its tables in memory |")
	fmt.Fprintln(b, "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	for _, s := range r.sizes {
		m := s.memory
		fmt.Fprintf(b, "| %s | %d MiB | %d MiB | %d MiB | %d MiB, %.0f B a pin | %d MiB | %d MiB |\n", thousands(s.n), m.resident>>20, m.peak>>20, m.heap>>20,
			int64(s.viewBytesPerPin*float64(s.n))>>20, s.viewBytesPerPin, m.cache>>20, m.tables>>20)
	}
}

// memoryNotes describe the columns of both tables.
const memoryNotes = `
"All keys and values" is what it takes to hand each of the datastore out once, undecoded. "Reading the state" is what the same pebble store, with the same options, takes to list and decode all records with nothing ` +
	`else: opened anew before, as it is before the start, and with its files in the memory of the system, or not, in all ` +
	`cases. "Ready" is ` + "`GET /ready`" + ` 200: the pinset is in the view, and what the IPFS node has is confirmed. ` +
	`"CPU" is what the process computed meanwhile, which is the steadier figure where others use the machine.

The memory is that of one process: peer, service, client and the stand-in of the IPFS node (8 B a pin). The difference between the resident ` +
	`memory and the other columns is garbage that Go has not collected yet: by default (GOGC) up to as much as is in use.

`

func (r *result) writePosts(b *strings.Builder) {
	if len(r.posts) == 0 {
		return
	}
	fmt.Fprintf(b, "\n| %s POSTs by %d clients | first tenth | last tenth | slow-down |\n", thousands(r.posts[0].count), connections)
	fmt.Fprintln(b, "| --- | ---: | ---: | ---: |")
	for _, p := range r.posts {
		fmt.Fprintf(b, "| %s | %.0f/s | %.0f/s | %.2fx |\n", p.subject, p.rate(0), p.rate(tenths-1), p.slowdown())
	}
}

func (r *result) writeClusters(b *strings.Builder) {
	if len(r.clusters) == 0 {
		return
	}
	fmt.Fprintf(b, "\nA simulation of clusters on one machine: %s pins on %d peers each, made through one peer by %d clients, until every peer's service, listed once a second at each, says pinned. "+
		"What a peer does without any pin is subtracted. Messages are those of pubsub, sent and received.\n\n", thousands(r.clusters[0].pins), copies, connections)
	fmt.Fprintln(b, "| peers | until pinned everywhere | messages, a pin and peer | bytes, a pin and peer | CPU, a pin and peer | CPU of an idle peer |")
	fmt.Fprintln(b, "| ---: | ---: | ---: | ---: | ---: | ---: |")
	for _, c := range r.clusters {
		fmt.Fprintf(b, "| %d | %.1f s | %.2f | %s | %s | %.2f %% of a core |\n", c.peers, c.took.Seconds(), c.messages, short(c.bytes),
			duration(microseconds(c.cpu)), 100*c.idle)
	}
}

func (r *result) writeTargets(b *strings.Builder) {
	fmt.Fprintln(b, "\n| target | to reach | reached | |")
	fmt.Fprintln(b, "| --- | ---: | ---: | --- |")
	for _, t := range r.targets() {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", t.what, t.want, t.got, t.verdict())
	}
}

func times(r row) string { return duration(r.P50) + " / " + duration(r.P99) }

// duration writes microseconds with a fitting unit.
func duration(us float64) string {
	switch {
	case us < 1000:
		return fmt.Sprintf("%.0f µs", us)
	case us < 1e5:
		return fmt.Sprintf("%.2f ms", us/1000)
	case us < 1e6:
		return fmt.Sprintf("%.0f ms", us/1000)
	default:
		return fmt.Sprintf("%.2f s", us/1e6)
	}
}

// short writes a figure with three digits.
func short(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.1f", v)
	case v < 1e4:
		return fmt.Sprintf("%.0f", v)
	case v < 1e6:
		return fmt.Sprintf("%.0fk", v/1e3)
	default:
		return fmt.Sprintf("%.0fM", v/1e6)
	}
}

// thousands writes a number with its thousands apart.
func thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
