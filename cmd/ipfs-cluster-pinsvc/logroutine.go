package main

import (
	"fmt"
	"strings"
	"time"

	logging "github.com/ipfs/go-log/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// raftRepeat is how often Raft's log tells the same of a peer that it cannot reach: it tries
// up to a hundred times a second.
const raftRepeat = time.Minute

// routineCore passes entries on to the log. What upstream's components log at higher levels of what
// is routine, it takes for debug messages of theirs.
type routineCore struct {
	zapcore.Core
	raft    zapcore.Core // gets the entries of Raft's library
	routine func(logger, message string) bool
	// loggers tell their levels. They are never changed, unlike the map of go-log, which it
	// reads without its lock where it is asked for the level of a name.
	loggers map[string]*logging.ZapEventLogger
}

// lowerRoutine puts a routineCore between the loggers and the log that go-log has set up from its
// environment, which it does not hand out: the same is opened again.
func lowerRoutine() error {
	cfg := logging.GetConfig()
	var paths []string
	if cfg.Stderr {
		paths = append(paths, "stderr")
	}
	if cfg.Stdout {
		paths = append(paths, "stdout")
	}
	for _, path := range []string{cfg.File, cfg.URL} {
		if path != "" {
			paths = append(paths, path)
		}
	}
	out, _, err := zap.Open(paths...)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	core := zapcore.NewCore(logEncoder(cfg.Format), out, zap.DebugLevel)
	for name, value := range cfg.Labels {
		core = core.With([]zapcore.Field{zap.String(name, value)})
	}
	logging.SetPrimaryCore(newRoutineCore(core))
	return nil
}

func newRoutineCore(core zapcore.Core) zapcore.Core {
	loggers := make(map[string]*logging.ZapEventLogger)
	for _, name := range []string{"cluster", "crdt", "raft", "ipfshttp", "pintracker", "raftlib"} {
		loggers[name] = logging.Logger(name)
	}
	return routineCore{Core: core, raft: zapcore.NewSamplerWithOptions(core, raftRepeat, 1, 0), routine: isRoutine, loggers: loggers}
}

// logEncoder is the encoder that go-log has for a format.
func logEncoder(format logging.LogFormat) zapcore.Encoder {
	cfg := zap.NewProductionEncoderConfig()
	cfg.EncodeTime = zapcore.ISO8601TimeEncoder
	switch format {
	case logging.JSONOutput:
		return zapcore.NewJSONEncoder(cfg)
	case logging.PlaintextOutput:
		cfg.EncodeLevel = zapcore.CapitalLevelEncoder
	default:
		cfg.EncodeLevel = zapcore.CapitalColorLevelEncoder
	}
	return zapcore.NewConsoleEncoder(cfg)
}

// With implements zapcore.Core.
func (c routineCore) With(fields []zapcore.Field) zapcore.Core {
	return routineCore{Core: c.Core.With(fields), raft: c.raft.With(fields), routine: c.routine, loggers: c.loggers}
}

// Check implements zapcore.Core.
func (c routineCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	debugs := func() bool {
		logger := c.loggers[entry.LoggerName]
		return logger != nil && logger.LevelEnabled(logging.LevelDebug)
	}
	switch {
	case c.routine(entry.LoggerName, entry.Message):
		if !debugs() {
			return checked
		}
		entry.Level = zapcore.DebugLevel
	case entry.LoggerName == "raftlib" && !debugs():
		return c.raft.Check(entry, checked)
	}
	return c.Core.Check(entry, checked)
}

// isRoutine reports whether a message of upstream's is of what happens all the time: each change,
// which has a line of the access log already; requests to the IPFS node whose caller has gone, such
// as that for a pin that is removed again; and components that are asked while the peer starts or stops.
func isRoutine(logger, message string) bool {
	var starts []string
	switch logger {
	case "cluster":
		if message == "error waiting for consensus updates: context canceled" {
			return true // It stops soon after it has joined.
		}
		starts = []string{"pinning ", "unpinning ", "the peer is starting"}
	case "crdt":
		starts = []string{"new pin added: ", "pin removed: "}
	case "raft":
		starts = []string{"pin committed to global state: ", "unpin committed to global state: "}
	case "pintracker":
		return strings.HasSuffix(message, "the IPFS node is not running: the peer is stopping") // cmd/peer, errStopping.
	case "ipfshttp":
		if strings.HasSuffix(message, "context canceled") {
			return true // What ends by a time limit says "deadline exceeded".
		}
		starts = []string{"IPFS Pin request succeeded: ", "IPFS Unpin request succeeded:"}
	case "raftlib":
		// This peer itself has closed it.
		return strings.HasSuffix(message, "error=transport shutdown.") ||
			strings.HasPrefix(message, "failed to decode incoming command.") && strings.Contains(message, "connection closed (local)")
	}
	for _, start := range starts {
		if strings.HasPrefix(message, start) {
			return true
		}
	}
	return false
}
