package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// tenths is into how many pieces a long run of POSTs is cut.
const tenths = 10

// posts is a long run of POSTs to one API.
type posts struct {
	subject    string
	count      int
	tenthTimes [tenths]time.Duration
}

// slowdown is how much longer the last tenth took than the first.
func (p *posts) slowdown() float64 {
	return p.tenthTimes[tenths-1].Seconds() / p.tenthTimes[0].Seconds()
}

func (p *posts) rate(part int) float64 {
	return float64(p.count/tenths) / p.tenthTimes[part].Seconds()
}

// measurePosts lets 64 clients make count pins through ours and as many
// through theirs, each on an empty peer that serves nothing else. Each takes
// its turn at every tenth, so that what disturbs the machine disturbs both.
func measurePosts(ctx context.Context, count int) (result []*posts, err error) {
	benches := make(map[string]*bench)
	defer func() {
		for _, b := range benches {
			if fault := b.close(); err == nil {
				err = fault
			}
		}
	}()
	for _, subject := range []string{ours, theirs} {
		if benches[subject], err = openBench(ctx, 0, subject); err != nil {
			return nil, err
		}
		result = append(result, &posts{subject: subject, count: count})
	}
	turns := slices.Clone(result)
	for part := range tenths {
		slices.Reverse(turns)
		for _, p := range turns {
			if err := p.run(ctx, benches[p.subject], part); err != nil {
				return nil, err
			}
		}
		fmt.Fprintf(os.Stderr, "  tenth %d: ours %.0f/s, upstream %.0f/s\n", part+1, result[0].rate(part), result[1].rate(part))
	}
	return result, nil
}

// run makes one tenth of the pins.
func (p *posts) run(ctx context.Context, b *bench, part int) error {
	var (
		clients sync.WaitGroup
		next    atomic.Int64
		failure atomic.Pointer[error]
	)
	each := int64(p.count / tenths)
	begin := time.Now()
	for range connections {
		clients.Go(func() {
			var buf bytes.Buffer
			for failure.Load() == nil {
				i := next.Add(1) - 1
				if i >= each {
					return
				}
				at := part*int(each) + int(i)
				r := postRequest(pinCID(seriesOurs, at), at)
				if _, err := b.client.do(ctx, b.urls[p.subject], r, &buf); err != nil {
					failure.Store(&err)
				}
			}
		})
	}
	clients.Wait()
	p.tenthTimes[part] = time.Since(begin)
	if err := failure.Load(); err != nil {
		return *err
	}
	return nil
}
