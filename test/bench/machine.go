package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// machine names what this runs on.
func machine() string {
	model := procValue("/proc/cpuinfo", "model name")
	if model == "" {
		model = "unknown CPU"
	}
	return fmt.Sprintf("%s, %d cores, %s %s/%s", model, runtime.GOMAXPROCS(0), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// procValue is the first value of a key in a file of "key : value" lines,
// empty where there is no such file.
func procValue(file, key string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// memory is that of the process, in bytes; of what the system does not report it is zero.
type memory struct {
	// resident is at rest, and peak the most since the start of the peer began.
	resident, peak int64
	// heap is what Go's heap has in use, after a collection.
	heap int64
	// cache and tables are the datastore's: blocks read, and writes that are not in files yet.
	// Both are outside of Go's heap.
	cache, tables int64
}

// memory measures the memory of a peer at rest.
func (b *bench) memory() memory {
	m := memory{resident: statusBytes("VmRSS"), peak: statusBytes("VmHWM")}
	m.heap = int64(heap())
	metrics := b.store.DB.Metrics()
	m.cache, m.tables = metrics.BlockCache.Size, int64(metrics.MemTable.Size+metrics.MemTable.ZombieSize)
	return m
}

func statusBytes(key string) int64 {
	kib, err := strconv.ParseInt(strings.TrimSuffix(procValue("/proc/self/status", key), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

// forgetPeak lets the peak of the memory begin anew, where the system can do that.
func forgetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// cpuTicks is what this process has computed, in hundredths of a second.
func cpuTicks() int64 {
	data, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	// The name of the program, in brackets, may hold anything.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return ticks
}

// timed is how long something took, and what this process computed in that time: on a machine
// that others use that is the steadier of the two.
type timed struct{ wall, cpu time.Duration }

// moment is when something began.
type moment struct {
	at    time.Time
	ticks int64
}

func now() moment { return moment{time.Now(), cpuTicks()} }

func (m moment) until() timed {
	return timed{time.Since(m.at), time.Duration(cpuTicks()-m.ticks) * 10 * time.Millisecond}
}

// settle waits until this process computes next to nothing, such as after a
// start, when the tracker compares all pins with those of IPFS.
func settle(ctx context.Context, atMost time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for last := cpuTicks(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := cpuTicks()
		if now-last < 10 { // A fifth of a core.
			return
		}
		last = now
	}
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// viewBytesPerPin fills a view with n pins.
func viewBytesPerPin(n int) float64 {
	before := heap()
	view := pinset.New()
	for i := range n {
		view.Put(pinset.Pin{
			CID:     pinCID(seriesSeeded, i),
			Name:    pinName(i),
			Meta:    map[string]string{"album": metaValue(n, i)},
			Created: pinCreated(i),
			Status:  pinsvc.StatusPinned,
		})
	}
	bytes := heap() - before
	runtime.KeepAlive(view)
	return float64(bytes) / float64(n)
}

// release gives back what earlier sizes have used.
func release() {
	runtime.GC()
	debug.FreeOSMemory()
}
