//go:build race

package clustertest

// raceDetector reports whether the race detector is enabled.
const raceDetector = true
