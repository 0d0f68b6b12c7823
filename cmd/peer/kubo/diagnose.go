package kubo

import (
	"fmt"
	"slices"
	"strings"
)

// diagnose explains in one sentence why a Kubo on repo has ended. exit is the
// error of its process, nil for status 0, and lines are the end of its output.
func diagnose(repo string, exit error, lines []string) error {
	for _, symptom := range []struct {
		texts   []string
		explain func(line string) error
	}{
		{[]string{"someone else has the lock", "lock is already held"}, func(string) error {
			pid, _, err := lockHolder(repo)
			if err != nil {
				pid = 0
			}
			return lockedError(repo, pid)
		}},
		{[]string{"no space left on device", "disk quota exceeded"}, func(string) error {
			return fmt.Errorf("the disk that holds the IPFS repo at %s is full: free some space there, "+
				"then Kubo starts again by itself", repo)
		}},
		{[]string{"permission denied"}, func(line string) error {
			return fmt.Errorf("the IPFS node lacks a permission (%s): let this user read and write the IPFS repo at %s",
				line, repo)
		}},
		{[]string{"address already in use", "failed to listen on any addresses"}, func(line string) error {
			return fmt.Errorf("a port of Kubo is in use by another program (%s): stop that program, or set "+
				"ipfs_connector.managed.swarm_addresses to addresses with free ports", line)
		}},
	} {
		if line, ok := lastLineWith(lines, symptom.texts); ok {
			return symptom.explain(line)
		}
	}
	how := "exit status 0"
	if exit != nil {
		how = exit.Error()
	}
	if line, ok := lastLineWith(lines, []string{"Error:"}); ok {
		return fmt.Errorf("the IPFS node ended (%s): %s", how, line)
	}
	return fmt.Errorf("the IPFS node ended (%s)", how)
}

// lastLineWith returns the last line that contains one of the texts, without
// Kubo's prefix for errors.
func lastLineWith(lines, texts []string) (string, bool) {
	for _, line := range slices.Backward(lines) {
		if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(line, text) }) {
			_, message, found := strings.Cut(line, "Error: ")
			if !found {
				message = line
			}
			return message, true
		}
	}
	return "", false
}
