//go:build !linux && !darwin

package kubo

// processStart is not implemented here, so an orphaned Kubo is not recognized.
func processStart(int) (string, bool) { return "", false }

func processName(int) string { return "" }
