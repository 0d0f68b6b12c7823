package await

import (
	"flag"
	"strconv"
	"testing"
)

// Run runs the tests of a package that mostly wait, for a TestMain: atOnce of those that call t.Parallel
// run at once, however few cores there are, unless -test.parallel says otherwise. It returns the exit code.
func Run(m *testing.M, atOnce int) int {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
	if !set {
		if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
			panic(err) // It is there: see package testing.
		}
	}
	return m.Run()
}
