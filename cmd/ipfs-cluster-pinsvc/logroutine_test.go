package main

import (
	"slices"
	"testing"
	"time"

	logging "github.com/ipfs/go-log/v2"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// What is routine is left out of the log, and what would be wanted in a fault is not.
func TestRoutineCore_LeavesOutRoutineAlone(t *testing.T) {
	t.Parallel()
	kept := [][2]string{
		{"ipfshttp", `error posting to IPFS:Post "http://127.0.0.1:5001/api/v0/pin/ls": context deadline exceeded`},
		{"ipfshttp", `error posting to IPFS:Post "http://127.0.0.1:5001/api/v0/id": dial tcp 127.0.0.1:5001: connect: connection refused`},
		{"ipfshttp", "error reading response body: unexpected EOF"},
		{"crdt", "error committing batch after reaching max age: no space left on device"},
		{"raft", "there seems to be no leader. Waiting for one"},
		{"raftlib", "failed to heartbeat to. Args:  peer=A. error=failed to dial."},
		{"raftlib", "failed to decode incoming command. Args:  error=connection closed (remote): code: 0x0."},
		{"cluster", "this peer is the only one"},
		{"pintracker", "could not get pinset from IPFS: IPFS request failed (is it running?): the IPFS node is not running: it is stopped"},
		{"cluster", "error waiting for consensus updates: context deadline exceeded"},
		{"another", "pin removed: bafkqaaa"},
	}
	left := [][2]string{
		{"ipfshttp", `error posting to IPFS:Post "http://127.0.0.1:5001/api/v0/pin/ls?arg=bafkqaaa": context canceled`},
		{"ipfshttp", "error reading response body: context canceled"},
		{"ipfshttp", "aborting pin/ls operation: context canceled"},
		{"ipfshttp", "IPFS Unpin request succeeded:bafkqaaa"},
		{"crdt", "new pin added: bafkqaaa"},
		{"raft", "unpin committed to global state: bafkqaaa"},
		{"cluster", "error waiting for consensus updates: context canceled"},
		{"pintracker", "could not get pinset from IPFS: IPFS request failed (is it running?): the IPFS node is not running: the peer is stopping"},
		{"cluster", "pinning bafkqaaa everywhere:"},
		{"raftlib", "failed to decode incoming command. Args:  error=transport shutdown."},
		{"raftlib", "failed to decode incoming command. Args:  error=connection closed (local): code: 0x0."},
	}
	log, seen := observer.New(zapcore.DebugLevel)
	core := newRoutineCore(log)
	for _, m := range slices.Concat(left, kept) {
		write(core, m[0], m[1])
	}
	var got [][2]string
	for _, e := range seen.All() {
		got = append(got, [2]string{e.LoggerName, e.Message})
		if e.Level != zapcore.ErrorLevel {
			t.Errorf("%s is logged at %s", e.Message, e.Level)
		}
	}
	if !slices.Equal(got, kept) {
		t.Errorf("got %q", got)
	}
}

// Who asks for the debug messages of a component gets those as well, as such.
func TestRoutineCore_DebugHasAll(t *testing.T) {
	t.Parallel()
	const component = "singledags" // No other test sets its level.
	log, seen := observer.New(zapcore.DebugLevel)
	core := routineCore{
		Core: log, raft: log, routine: func(string, string) bool { return true },
		loggers: map[string]*logging.ZapEventLogger{component: logging.Logger(component)},
	}
	write(core, component, "routine")
	if err := logging.SetLogLevel(component, "debug"); err != nil {
		t.Fatal(err)
	}
	write(core, component, "routine")
	if all := seen.All(); len(all) != 1 || all[0].Level != zapcore.DebugLevel {
		t.Errorf("%+v", all)
	}
}

// Raft tells up to a hundred times a second that it cannot reach a peer.
func TestRoutineCore_RaftRepeatsItselfOnceAMinute(t *testing.T) {
	t.Parallel()
	log, seen := observer.New(zapcore.DebugLevel)
	core := newRoutineCore(log)
	begin := time.Unix(1e9, 0)
	for _, after := range []time.Duration{0, time.Second, 59 * time.Second, 61 * time.Second, 62 * time.Second} {
		for _, peer := range []string{"A", "B"} {
			entry := zapcore.Entry{LoggerName: "raftlib", Level: zapcore.ErrorLevel, Time: begin.Add(after), Message: "failed to heartbeat to " + peer}
			if checked := core.Check(entry, nil); checked != nil {
				checked.Write()
			}
		}
	}
	if seen.Len() != 4 {
		t.Errorf("%d messages, want 2 for each of 2 peers", seen.Len())
	}
}

func write(core zapcore.Core, logger, message string) {
	entry := zapcore.Entry{LoggerName: logger, Level: zapcore.ErrorLevel, Time: time.Unix(1e9, 0), Message: message}
	if checked := core.Check(entry, nil); checked != nil {
		checked.Write()
	}
}
