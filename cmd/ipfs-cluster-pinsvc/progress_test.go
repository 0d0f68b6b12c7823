package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	logging "github.com/ipfs/go-log/v2"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
)

func TestProgress_ThinsOut(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	p := &progress{program: newProgram(strings.NewReader(""), &said, &said)}
	const step = 1500 * time.Millisecond
	var before int
	for elapsed := time.Duration(0); elapsed < time.Hour; elapsed += step {
		p.report(peer.Event{Stage: peer.StageIPFS, Detail: "no answer", Elapsed: elapsed})
		lines := strings.Count(said.String(), "\n")
		if elapsed <= repeatAll && lines != before+1 {
			t.Fatalf("silent after %s", elapsed)
		}
		before = lines
	}
	if want := int(repeatAll/step) + int(time.Hour/repeatInterval); before > want+1 || before < want-2 {
		t.Errorf("%d lines in an hour, want about %d", before, want)
	}
	// Something new is told at once.
	p.report(peer.Event{Stage: peer.StageIPFS, Detail: "another", Elapsed: time.Hour + time.Second})
	p.report(peer.Event{Stage: peer.StageRequests})
	p.report(peer.Event{Stage: peer.StageReady})
	if got := strings.Count(said.String(), "\n") - before; got != 2 {
		t.Errorf("%d lines for what is new, want 2:\n%s", got, said.String())
	}
}

func TestProgress_DoesNotRepeatTheLog(t *testing.T) {
	var said bytes.Buffer
	p := &progress{program: newProgram(strings.NewReader(""), &said, &said), logged: true}
	p.report(peer.Event{Stage: peer.StageStore})
	p.report(peer.Event{Stage: peer.StageStore, Elapsed: 2 * time.Second})
	if got, want := said.String(), "opening the datastore (2s)\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	logging.Logger("peer") // There once the package peer is linked, as above.
	if err := logging.SetLogLevel("peer", "info"); err != nil {
		t.Fatal(err)
	}
	if !newProgress(p.program).logged {
		t.Error("the log of the peer is on and not noticed")
	}
	if err := logging.SetLogLevel("peer", "error"); err != nil {
		t.Fatal(err)
	}
	if newProgress(p.program).logged {
		t.Error("the log of the peer is off and not noticed")
	}
}
