package load

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The flags have the sizes of make test; make load sets larger ones.
var (
	duration    = flag.Duration("load.duration", 2*time.Second, "how long each number of connections is kept up")
	connections = flag.String("load.connections", "64", "numbers of connections, separated by commas")
	pins        = flag.Int("load.pins", 500, "how many pins there are when the load begins")
	inFlight    = flag.Int("load.inflight", 100, "how many pins in flight are polled")
	restarted   = flag.Int("load.restarted", 500, "how many pins there are at the restart")
	upstream    = flag.String("load.upstream", "", "the program ipfs-cluster-service, to compare with; empty: none")
	page        = flag.String("load.page", "", "the file whose measured part is written; empty: none")
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if code == 0 && *page != "" {
		if err := writePage(*page); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func connectionCounts(t *testing.T) (counts []int) {
	t.Helper()
	for text := range strings.SplitSeq(*connections, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("-load.connections: %q", text)
		}
		counts = append(counts, n)
	}
	return counts
}
