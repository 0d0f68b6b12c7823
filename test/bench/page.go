package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// defaultSizes and defaultPosts are what a complete run measures.
const (
	defaultSizes = "1000,10000,100000,1000000"
	defaultPosts = 200_000
	defaultPeers = "1,3,10,30"
	// growthSizes and growthOps are those of the growth curve: a run of its own, which takes
	// half an hour, 10 GiB of memory and 10 GB of disk.
	growthSizes = "10000,100000,1000000,10000000"
	growthOps   = "list_first,count,post"
)

// section is a part of the page that a run writes, between two lines that name it.
type section struct {
	name string
	// measured reports whether a run has measured all of it.
	measured func(settings) bool
	text     func(*result) string
}

var sections = []section{
	{"bench", settings.complete, (*result).complete},
	{"growth", settings.growth, (*result).growth},
	{"clusters", settings.clusters, (*result).simulated},
}

func (s section) begin() string { return "<!-- " + s.name + " begin -->\n" }
func (s section) end() string   { return "<!-- " + s.name + " end -->" }

// complete reports whether everything is measured but the simulation, as the page shows it.
func (s settings) complete() bool {
	return s.hasSizes(defaultSizes) && s.posts == defaultPosts && len(s.ops) == 0 && s.effort == fullEffort
}

// growth reports whether the growth curve is measured.
func (s settings) growth() bool {
	return s.hasSizes(growthSizes) && s.effort == fullEffort && !slices.ContainsFunc(strings.Split(growthOps, ","), func(op string) bool {
		return len(s.ops) > 0 && !s.ops[op]
	})
}

// clusters reports whether the simulation is measured.
func (s settings) clusters() bool { return joined(s.peers) == defaultPeers && s.effort == fullEffort }

func (s settings) hasSizes(want string) bool { return joined(s.sizes) == want }

func joined(numbers []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(numbers), " ", ","), "[]")
}

// writePage puts what a run has measured into the page, if there is one to write.
func (s settings) writePage(r *result) error {
	if s.page == "" {
		return nil
	}
	raw, err := os.ReadFile(s.page)
	if err != nil {
		return err
	}
	text := string(raw)
	for _, part := range sections {
		if !part.measured(s) {
			progress("%s, %s: it stays as it is, the run has not measured all of it", s.page, part.name)
			continue
		}
		if text, err = part.replace(text, part.text(r)); err != nil {
			return fmt.Errorf("%s: %w", s.page, err)
		}
	}
	return os.WriteFile(s.page, []byte(text), 0o644)
}

// replace returns the page with another text of the section.
func (s section) replace(page, text string) (string, error) {
	before, rest, found := strings.Cut(page, s.begin())
	_, after, ended := strings.Cut(rest, s.end())
	if !found || !ended {
		return "", fmt.Errorf("the lines %s and %s are missing", strings.TrimSpace(s.begin()), s.end())
	}
	return before + s.begin() + text + s.end() + after, nil
}
