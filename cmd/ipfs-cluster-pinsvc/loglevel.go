package main

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/gologshim"
)

const defaultLogLevel = "info"

// routeLogs sends the logs of libraries that use slog, such as go-libp2p, to the
// same place, so that --loglevel and the log format hold for all.
func routeLogs() {
	handler := logging.SlogHandler()
	slog.SetDefault(slog.New(handler))
	gologshim.SetDefaultHandler(handler)
}

// logLevels maps the names of levels in the cluster's manual to those of the
// logging library. ipfs-cluster-service silently leaves everything at "error"
// for names that the library does not have (U20 in docs/upstream-faults.md).
func logLevels() map[string]string {
	return map[string]string{
		"debug": "debug", "info": "info", "notice": "info",
		"warn": "warn", "warning": "warn", "error": "error",
		"critical": "fatal", "fatal": "fatal", "panic": "panic", "dpanic": "dpanic",
	}
}

// logComponents are the loggers that follow the overall level: the cluster's, and
// all of this program.
func logComponents() []string {
	return []string{
		"adder", "allocator", "apitypes", "cluster", "config", "crdt",
		"diskinfo", "dsstate", "ipfshttp", "ipfsproxy", "ipfsproxylog",
		"monitor", "optracker", "pinsvcapi", "pinsvcapilog", "pintracker",
		"pstoremgr", "raft", "restapi", "restapilog", "service",
		"shardingdags", "singledags", "tags",
		"blockfetch", "boundrpc", "clusterrpc", "commitstore", "crdtstore", "divergence", "groupcommit", "kubo", "origins", "orphans", "peer", "pinning",
		"pinsvcwatch", "raftstate", "tracking",
	}
}

// logDependencies are the loggers of libraries below the cluster. They keep
// these levels unless named. The provider tells the cluster's DHT which blocks of the shared
// state a peer has, which nobody looks up; at a peer without others each block would be an error,
// and its queue (dsqueue) is cut off at each stop.
func logDependencies() map[string]string {
	return map[string]string{
		"p2p-gorpc": "error", "swarm2": "error", "libp2p-raft": "fatal",
		"provider": "fatal", "dsqueue": "fatal", "raftlib": "error", "badger": "info", "badger3": "info", "pebble": "warn",
	}
}

// setLogLevels applies --debug and --loglevel. An unknown level is reported and
// replaced by the default: ipfs-cluster-service ignores it, so it must not keep
// the peer from starting.
func (p *program) setLogLevels(debug bool, spec string) error {
	if debug {
		return logging.SetLogLevel("*", "debug")
	}
	levels, err := p.parseLogLevels(spec)
	if err != nil {
		return err
	}
	for _, component := range slices.Sorted(maps.Keys(levels)) {
		// Loggers may be created later, so unknown names are accepted.
		if err := logging.SetLogLevel(component, levels[component]); err != nil {
			return fmt.Errorf("setting the log level of %s: %w", component, err)
		}
	}
	return nil
}

// parseLogLevels returns the level of every logger.
func (p *program) parseLogLevels(spec string) (map[string]string, error) {
	known := logLevels()
	overall := defaultLogLevel
	named := map[string]string{}
	for item := range strings.SplitSeq(spec, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		component, word, found := strings.Cut(item, ":")
		if !found {
			component, word = "all", item
		}
		if strings.Contains(word, ":") {
			return nil, fmt.Errorf("reading --loglevel: %q is neither LEVEL nor COMPONENT:LEVEL", item)
		}
		level, ok := known[strings.ToLower(word)]
		if !ok {
			p.notice("warning: --loglevel: %q is no level; using %s (levels: %s)", word, defaultLogLevel,
				"debug, info, warn, error, critical")
			level = defaultLogLevel
		}
		if component == "all" {
			overall = level
		} else {
			named[component] = level
		}
	}
	levels := logDependencies()
	for _, component := range logComponents() {
		levels[component] = overall
	}
	maps.Copy(levels, named)
	return levels, nil
}
