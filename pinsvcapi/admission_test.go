package pinsvcapi

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

func TestAdmission_RefusesAfterItsPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(1)
		leave, err := a.enter(t.Context(), costWrite)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = a.enter(t.Context(), costWrite)
		if pinsvc.KindOf(err) != pinsvc.KindUnavailable || time.Since(start) != admissionPatience {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		leave()
		if leave, err = a.enter(t.Context(), costWrite); err != nil {
			t.Errorf("there is room again: %v", err)
		}
		leave()
	})
}

func TestAdmission_WritesThatWaitLeaveReadsAlone(t *testing.T) {
	a := newAdmission(1)
	for _, cost := range []int{costWrite, costMemory} {
		if _, err := a.enter(t.Context(), cost); err != nil {
			t.Errorf("cost %d: %v", cost, err)
		}
	}
	for range 100 {
		if _, err := a.enter(t.Context(), costNone); err != nil {
			t.Errorf("what touches no pin is refused: %v", err)
		}
	}
}

func TestAdmission_BoundsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(1)
		leave, err := a.enter(t.Context(), costMemory)
		if err != nil {
			t.Fatal(err)
		}
		admitted := make(chan struct{}, waitingPerSlot)
		for range waitingPerSlot {
			go func() {
				if leave, err := a.enter(t.Context(), costMemory); err == nil {
					admitted <- struct{}{}
					leave()
				}
			}()
		}
		synctest.Wait()
		start := time.Now()
		if _, err := a.enter(t.Context(), costMemory); err == nil || time.Since(start) != 0 {
			t.Errorf("one more than may wait: %v after %s", err, time.Since(start))
		}
		leave()
		for range waitingPerSlot {
			<-admitted
		}
	})
}

func TestAdmission_ClientsThatLeaveAreNotRefused(t *testing.T) {
	a := newAdmission(1)
	if _, err := a.enter(t.Context(), costMemory); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.enter(ctx, costMemory); pinsvc.KindOf(err) == pinsvc.KindUnavailable || err == nil {
		t.Errorf("got %v", err)
	}
}

func TestAdmission_BoundsLargeBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(1)
		for range 1000 {
			if held, err := a.hold(t.Context(), a.bodies, "mallory", largeBody-1); err != nil || held != nil {
				t.Fatal(held, err)
			}
		}
		held, err := a.hold(t.Context(), a.bodies, "mallory", bodyMemory+1)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := a.hold(t.Context(), a.bodies, "mallory", largeBody); pinsvc.KindOf(err) != pinsvc.KindUnavailable || time.Since(start) != admissionPatience {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		start = time.Now()
		for _, other := range []struct {
			of    *memory
			owner string
		}{{a.bodies, "alice"}, {a.pages, "mallory"}, {a.responses, "mallory"}} {
			if _, err := a.hold(t.Context(), other.of, other.owner, largeBody); err != nil || time.Since(start) != 0 {
				t.Errorf("%s, whose share is free: %v after %s", other.owner, err, time.Since(start))
			}
		}
		held.release()
		if _, err := a.hold(t.Context(), a.bodies, "mallory", largeBody); err != nil {
			t.Error(err)
		}
	})
}

// A client that is told to come back is told when, and what is open to everybody
// goes on.
func TestAdmission_ARefusedRequest(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.MaxConcurrentRequests = config.MinConcurrency })
	s.api.admission.patience = time.Millisecond
	g := newGate(s)
	var statuses []<-chan int
	for range config.MinConcurrency {
		statuses = append(statuses, s.inBackground())
		<-g.entered
	}
	rep := s.do(http.MethodGet, "/pins", "")
	rep.fails(http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", "max_concurrent_requests")
	if got := rep.header.Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After is %q", got)
	}
	s.do(http.MethodGet, "/health", "", anonymous).is(http.StatusOK)
	close(g.open)
	for _, status := range statuses {
		if got := <-status; got != http.StatusOK {
			t.Errorf("an admitted request got %d", got)
		}
	}
}

// Bodies that come slowly take no slot of requests that are worked on.
func TestAdmission_SlowBodiesHoldNoSlot(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.MaxConcurrentRequests = config.MinConcurrency })
	s.api.admission.patience = time.Millisecond
	for range 2 * config.MinConcurrency {
		dialRaw(t, s, "POST /pins HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+
			"Authorization: Basic "+basic(testUser, testPassword)+"\r\nContent-Length: 1000\r\n\r\n{")
	}
	s.do(http.MethodPost, "/pins", body(1, "")).is(http.StatusAccepted)
}

// A chunked body has no length to go by.
func TestReadBody_Chunked(t *testing.T) {
	s := start(t)
	for _, size := range []int{10, largeBody - 100, largeBody, largeBody + 1, 200_000} {
		text := body(1, `,"ignored":"`+strings.Repeat("x", size)+`"`)
		s.do(http.MethodPost, "/pins", text, func(r *http.Request) { r.ContentLength = -1 }).is(http.StatusAccepted)
		s.do(http.MethodPost, "/pins", text).is(http.StatusAccepted)
	}
	s.do(http.MethodPost, "/pins", body(1, `,"ignored":"`+strings.Repeat("x", 1<<20)+`"`),
		func(r *http.Request) { r.ContentLength = -1 }).fails(http.StatusRequestEntityTooLarge, "PAYLOAD_TOO_LARGE", "max_body_bytes")
}

func basic(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// A write that took effect is not refused because its response is large.
func TestAdmission_ResponsesOfWritesAreSent(t *testing.T) {
	s := start(t)
	s.api.admission.patience = time.Millisecond
	text := body(1, `,"meta":{"a":"`+strings.Repeat(`\u0001`, 12_000)+`"}`)
	s.backend.before = func(context.Context) error {
		for owner := range 2 {
			if s.api.admission.responses.try(fmt.Sprint(owner), responseMemory) == nil {
				t.Error("memory is taken already")
			}
		}
		return nil
	}
	rep := s.do(http.MethodPost, "/pins", text).is(http.StatusAccepted)
	if len(rep.body) <= len(text) {
		t.Errorf("the response has %d bytes, the request %d", len(rep.body), len(text))
	}
}
