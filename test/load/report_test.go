package load

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// record has what the tests of this run measured, for the page.
var record results

type results struct {
	mu       sync.Mutex
	steps    []*step
	inFlight *polled
	restarts *restart
}

func (r *results) step(s *step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps = append(r.steps, s)
}

func (r *results) polled(p polled) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight = &p
}

func (r *results) restart(x restart) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restarts = &x
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }

func (s *step) line() string {
	name := "`" + s.subject + "`"
	if s.limit > 0 {
		name += fmt.Sprintf(", `max_concurrent_requests` %d", s.limit)
	}
	recovered := milliseconds(s.recovered)
	if s.slow != nil {
		recovered = "never: " + s.slow.Error()
	}
	return fmt.Sprintf("| %d | %s | %.0f | %s | %s | %s | %.2f %% | %.2f %% | %d | %s |", s.connections, name, s.rate(),
		milliseconds(percentile(s.times, 0.5)), milliseconds(percentile(s.times, 0.99)), milliseconds(percentile(s.times, 0.999)),
		100*s.share(shed), 100*s.share(wrong), s.resident>>20, recovered)
}

// markdown is the measured part of the page.
func (r *results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Mixed work of %d users over %d pins, %s for each number of connections:\n\n", users, *pins, *duration)
	b.WriteString("| Connections | Daemon | Served/s | p50, ms | p99, ms | p99.9, ms | 503 or 429 | No answer, or a wrong one | Resident, MiB | Quick again, ms |\n")
	b.WriteString("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, s := range r.steps {
		b.WriteString(s.line() + "\n")
	}
	b.WriteString("\nServed are responses of 2xx; the times are of those alone.\n")
	if p := r.inFlight; p != nil {
		fmt.Fprintf(&b, "\n%d pins in flight, all polled every %s (%d at once): p50 %s ms, p99 %s ms; %d of %d rounds took longer; %d MiB resident.\n",
			p.pins, pollEvery, perPoll, milliseconds(percentile(p.times, 0.5)), milliseconds(percentile(p.times, 0.99)), p.late, p.rounds, p.resident>>20)
	}
	if x := r.restarts; x != nil {
		fmt.Fprintf(&b, "\n%d pins that the IPFS node has: ready %s after the state was imported (in %s), all pinned %s later; "+
			"ready %s after the start that follows an orderly stop, and %s after `kill -9`; %d MiB resident before, %d MiB once ready, %d MiB at most meanwhile.\n",
			x.pins, x.first, x.imported.Round(time.Millisecond), x.pinned.Round(time.Millisecond), x.stopped, x.killed, x.before>>20, x.after>>20, x.most>>20)
	}
	r.writeTargets(&b)
	return b.String()
}

// maxLate is the share of rounds that may take longer than pollEvery.
const maxLate = 0.01

// writeTargets judges what was measured of ours.
func (r *results) writeTargets(b *strings.Builder) {
	b.WriteString("\n| Target | Measured | |\n| --- | --- | --- |\n")
	verdict := func(what, measured string, met bool) {
		word := "**not met**"
		if met {
			word = "met"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", what, measured, word)
	}
	for _, s := range r.steps {
		if s.subject != ours {
			continue
		}
		what := fmt.Sprintf("%d connections", s.connections)
		if s.limit > 0 {
			what += fmt.Sprintf(", %d requests at once: refused with 503 or 429", s.limit)
			verdict(what, fmt.Sprintf("%.1f %%", 100*s.share(shed)), s.share(shed) > 0)
			what = fmt.Sprintf("%d connections, %d requests at once", s.connections, s.limit)
		}
		verdict(what+": every request gets an answer, and none a wrong one", fmt.Sprintf("%.3f %% do not", 100*s.share(wrong)), s.share(wrong) == 0)
		verdict(what+": quick again within "+recovery.String(), milliseconds(s.recovered)+" ms", s.slow == nil && s.recovered <= recovery)
	}
	if p := r.inFlight; p != nil {
		verdict(fmt.Sprintf("%d pins in flight: all polled every %s", p.pins, pollEvery),
			fmt.Sprintf("%d of %d rounds took longer", p.late, p.rounds), float64(p.late) <= maxLate*float64(p.rounds))
	}
}

const begin, end = "<!-- measured begin -->", "<!-- measured end -->"

// writePage replaces the measured part of the page.
func writePage(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return errors.New(path + " has no measured part")
	}
	return os.WriteFile(path, []byte(head+begin+"\n\n"+record.markdown()+"\n"+end+tail), 0o644)
}
