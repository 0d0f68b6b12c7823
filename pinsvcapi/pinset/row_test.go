package pinset

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// BenchmarkMemory measures a million pins.
func TestRow_FitsIn300Bytes(t *testing.T) {
	if got := bytesPerPin(50_000); got > 300 {
		t.Errorf("a pin takes %d bytes", got)
	}
}

func bytesPerPin(n int) int {
	v := New()
	used := heapOf(func() {
		for i := range n {
			v.Put(samplePin(i))
		}
	})
	runtime.KeepAlive(v)
	return used / n
}

// heapOf is how much more is in use after fill than before.
func heapOf(fill func()) int {
	inUse := func() int {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := inUse()
	fill()
	return inUse() - before
}

// samplePin has a CID of 59 characters, a name of 20 and one meta pair.
func samplePin(i int) Pin {
	return Pin{
		CID: cidOf(3*i + 2), Name: fmt.Sprintf("backup of %010d", i), Meta: map[string]string{"app": fmt.Sprint(i % 100)},
		Created: time.UnixMilli(1_790_000_000_000 + int64(i*7919%1_000_003)), Status: pinsvc.StatusPinned,
	}
}
