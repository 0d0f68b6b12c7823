package statesync

import (
	"reflect"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestEventQueue_TooManyEventsOverflowOnce(t *testing.T) {
	q := newEventQueue(new(clusterfake.Clock).Now)
	for i := range maxEvents + 1 {
		q.add(Event{CID: pinsvctest.RawCID(i)})
		q.add(Event{CID: pinsvctest.RawCID(i), Removed: true})
	}
	if q.len() != maxEvents || q.overflows.Load() != 2 || !q.takeOverflow() || q.takeOverflow() {
		t.Errorf("%d events wait, %d overflows", q.len(), q.overflows.Load())
	}
	if e, reads, wait := q.take(); !e.Removed || reads != 0 || wait != 0 {
		t.Errorf("the later of two events does not count: %+v", e)
	}
}

func TestEventQueue_EventsAreReadAgainUntilTheLastDelay(t *testing.T) {
	var clock clusterfake.Clock
	q := newEventQueue(clock.Now)
	e := Event{CID: pinsvctest.RawCID(1)}
	for reads, delay := range rereadDelays {
		q.readAgain(e, reads)
		if _, _, got := q.take(); got != delay {
			t.Errorf("after %d reads it waits %s, want %s", reads, got, delay)
		}
		clock.Advance(delay)
		if got, next, wait := q.take(); got != e || next != reads+1 || wait != 0 {
			t.Errorf("after %d reads comes %d in %s", reads, next, wait)
		}
	}
	q.readAgain(e, len(rereadDelays))
	if _, _, wait := q.take(); wait < time.Minute || q.len() != 0 {
		t.Errorf("%d events wait", q.len())
	}
}

// What could not be read is tried one by one, the oldest first, and each pin waits once.
func TestEventQueue_FailedReadsAreTriedOneByOne(t *testing.T) {
	var clock clusterfake.Clock
	q := newEventQueue(clock.Now)
	event := func(n int) Event { return Event{CID: pinsvctest.RawCID(n)} }
	for n := range 3 {
		q.readFailed(event(n))
		clock.Advance(failedPause / 4)
	}
	q.readFailed(Event{CID: event(1).CID, Removed: true})
	if _, _, wait := q.take(); wait != failedPause/4 || q.len() != 3 {
		t.Errorf("%d wait, %s", q.len(), wait)
	}
	clock.Advance(failedPause / 4)
	if e, reads, wait := q.take(); e != event(0) || reads != 0 || wait != 0 {
		t.Errorf("%+v, %d reads, in %s", e, reads, wait)
	}
	q.readFailed(event(0))
	if _, _, wait := q.take(); wait != failedPause {
		t.Errorf("the next is tried in %s", wait)
	}
	q.add(event(9)) // What is new waits for none of them.
	if e, _, wait := q.take(); e != event(9) || wait != 0 {
		t.Errorf("%+v in %s", e, wait)
	}
	clock.Advance(failedPause)
	for _, want := range []Event{{CID: event(1).CID, Removed: true}, event(2), event(0)} {
		if e, _, wait := q.take(); e != want || wait != 0 {
			t.Errorf("%+v in %s, want %+v", e, wait, want)
		}
	}
	if q.len() != 0 {
		t.Errorf("%d wait", q.len())
	}
	for n := range maxEvents + 1 {
		q.readFailed(event(n))
	}
	if q.len() != maxEvents || !q.takeOverflow() {
		t.Errorf("%d wait", q.len())
	}
}

// Two million events may wait: they have no record, and nothing of a record's size.
func TestEventQueue_EventsKeepNoRecord(t *testing.T) {
	var e Event
	for i := range reflect.TypeOf(e).NumField() {
		switch field := reflect.TypeOf(e).Field(i); field.Name {
		case "CID":
		default:
			switch field.Type.Kind() {
			case reflect.String, reflect.Slice, reflect.Map, reflect.Interface:
				t.Errorf("%s has any size", field.Name)
			}
		}
	}
	if size := reflect.TypeOf(delayedEvent{}).Size(); size > 128 {
		t.Errorf("an event that waits takes %d bytes", size)
	}
}
