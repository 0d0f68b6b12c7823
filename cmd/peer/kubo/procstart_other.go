//go:build !linux && !darwin

package kubo

// processStart is not known here, so nothing is ever taken for a Kubo of ours
// that was left behind.
func processStart(int) (string, bool) { return "", false }

func processName(int) string { return "" }
