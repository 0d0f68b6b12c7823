package main

import (
	"fmt"
	"os"
	"strings"
)

// defaultSizes and defaultPosts are what a complete run measures.
const (
	defaultSizes = "1000,10000,100000,1000000"
	defaultPosts = 200_000
	defaultPeers = "1,3,10,30"
	// hugeSize is added to the sizes of a complete run by hand: it takes an hour and
	// 16 GiB.
	hugeSize = ",10000000"
)

// The measured part of the page lies between these lines.
const (
	pageBegin = "<!-- bench begin -->\n"
	pageEnd   = "<!-- bench end -->"
)

// complete reports whether everything is measured, as the page shows it.
func (s settings) complete() bool {
	var sizes []string
	for _, n := range s.sizes {
		sizes = append(sizes, fmt.Sprint(n))
	}
	all := strings.TrimSuffix(strings.Join(sizes, ","), hugeSize)
	return all == defaultSizes && len(s.peers) == 4 && s.posts == defaultPosts && len(s.ops) == 0 && s.effort == fullEffort
}

// writePage puts the result of a complete run into the page, if there is one
// to write.
func (s settings) writePage(r *result) error {
	switch {
	case s.page == "":
		return nil
	case !s.complete():
		progress("%s stays as it is: the run was not complete", s.page)
		return nil
	}
	raw, err := os.ReadFile(s.page)
	if err != nil {
		return err
	}
	text, err := replaceMeasured(string(raw), r.markdown())
	if err != nil {
		return fmt.Errorf("%s: %w", s.page, err)
	}
	return os.WriteFile(s.page, []byte(text), 0o644)
}

// replaceMeasured returns the page with another measured part.
func replaceMeasured(page, measured string) (string, error) {
	before, rest, found := strings.Cut(page, pageBegin)
	_, after, ended := strings.Cut(rest, pageEnd)
	if !found || !ended {
		return "", fmt.Errorf("the lines %s and %s are missing", strings.TrimSpace(pageBegin), pageEnd)
	}
	return before + pageBegin + measured + pageEnd + after, nil
}
