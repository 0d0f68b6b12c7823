package main

import (
	"bytes"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
)

func TestParseLogLevels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec   string
		levels map[string]string
	}{
		{"", map[string]string{"cluster": "info", "service": "info", "badger": "info", "raftlib": "error"}},
		{"debug", map[string]string{"cluster": "debug", "kubo": "debug", "libp2p-raft": "fatal", "pebble": "warn"}},
		{"error,cluster:debug", map[string]string{"cluster": "debug", "restapi": "error"}},
		{"cluster:debug,error", map[string]string{"cluster": "debug", "restapi": "error"}},
		{"raftlib:debug", map[string]string{"raftlib": "debug", "cluster": "info"}},
		{"all:warning", map[string]string{"cluster": "warn"}},
		{"NOTICE,crdt:critical,dht:WARN", map[string]string{"cluster": "info", "crdt": "fatal", "dht": "warn"}},
		{" info , tags : debug ,", map[string]string{"cluster": "info"}},
	} {
		var errOut bytes.Buffer
		p := newProgram(strings.NewReader(""), &errOut, &errOut)
		levels, err := p.parseLogLevels(c.spec)
		if err != nil {
			t.Errorf("%q: %v", c.spec, err)
		}
		for component, level := range c.levels {
			if levels[component] != level {
				t.Errorf("%q: %s is at %q, want %q", c.spec, component, levels[component], level)
			}
		}
	}
}

// The overall level reaches the loggers that it reaches upstream.
func TestLogComponents_IncludeUpstreams(t *testing.T) {
	t.Parallel()
	for component := range ipfscluster.LoggingFacilities {
		if !slices.Contains(logComponents(), component) {
			t.Errorf("the overall log level does not reach %s", component)
		}
	}
	for component, level := range ipfscluster.LoggingFacilitiesExtra {
		if logDependencies()[component] != strings.ToLower(level) {
			t.Errorf("%s is at %q, want %q", component, logDependencies()[component], level)
		}
	}
}

// Every logger that this project creates is in the list: one that is missing
// stays at the level "error" whatever --loglevel says.
func TestLogComponents_IncludeAllLoggersOfTheTree(t *testing.T) {
	t.Parallel()
	created := regexp.MustCompile(`\blog(?:ging)?\.Logger\("([^"]+)"\)`)
	found := 0
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); name == "test" || name == "bin" || name == "node_modules" || name == ".git" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		for _, match := range created.FindAllStringSubmatch(readText(t, path), -1) {
			found++
			if !slices.Contains(logComponents(), match[1]) {
				t.Errorf("%s creates the logger %q, which the overall log level does not reach", path, match[1])
			}
		}
		return nil
	})
	if err != nil || found < 6 {
		t.Errorf("%d loggers were found, %v", found, err)
	}
}
