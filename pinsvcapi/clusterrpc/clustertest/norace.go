//go:build !race

package clustertest

// raceDetector says that the race detector watches.
const raceDetector = false
