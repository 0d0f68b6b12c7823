package clusterrpc_test

import (
	"flag"
	"os"
	"testing"
)

// atOnce is how many tests that call t.Parallel run at once, however few cores there are: they
// mostly wait for real peers.
const atOnce = "4"

func TestMain(m *testing.M) {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
	if !set {
		if err := flag.Set("test.parallel", atOnce); err != nil {
			panic(err) // It is there: see package testing.
		}
	}
	os.Exit(m.Run())
}
