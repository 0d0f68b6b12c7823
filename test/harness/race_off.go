//go:build !race

package harness

// The Makefile's target that builds the programs that the tests run, and the
// folder in which it puts them.
const (
	buildTarget = "build"
	binaries    = "bin"
)
