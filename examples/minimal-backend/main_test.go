package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	pinclient "github.com/ipfs/boxo/pinning/remote/client"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/auth"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// deadline bounds failures; no test waits for it to pass.
const deadline = time.Minute

// started runs the example and returns its endpoint. It stops with the test.
func started(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	address, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- run(ctx, "/ip4/127.0.0.1/tcp/0", func(a string) { address <- a }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("it stopped with %v", err)
		}
	})
	select {
	case a := <-address:
		return "http://" + a
	case err := <-ended:
		ended <- nil
		t.Fatalf("it did not start: %v", err)
		return ""
	}
}

// The Go client that Kubo uses pins, and sees what becomes of the pin.
func TestRun_PinsThroughHTTP(t *testing.T) {
	endpoint := started(t)
	token, err := auth.IssueToken("me", "secret", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	client := pinclient.NewClient(endpoint, token)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	for text, want := range map[string]pinclient.Status{
		"bafkqablimvwgy3y": pinclient.StatusPinned,
		"bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi": pinclient.StatusFailed,
	} {
		st, err := client.Add(ctx, cid.MustParse(text), pinclient.PinOpts.WithName("hello"))
		if err != nil {
			t.Fatal(err)
		}
		for st.GetStatus() != want {
			if st, err = client.GetStatusByID(ctx, st.GetRequestId()); err != nil {
				t.Fatalf("%s is not %s: %v", text, want, err)
			}
		}
	}
	pins, err := client.LsSync(ctx, pinclient.PinOpts.FilterName("hello"), pinclient.PinOpts.FilterStatus(pinclient.StatusFailed))
	if err != nil || len(pins) != 1 || !strings.Contains(pins[0].GetInfo()["status_details"], "carry") {
		t.Errorf("listed %v, %v", pins, err)
	}
	if err := client.DeleteByID(ctx, pins[0].GetRequestId()); err != nil {
		t.Error(err)
	}
}

func TestRun_WantsAUser(t *testing.T) {
	resp, err := http.Get(started(t) + "/pins")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token the status is %s", resp.Status)
	}
}

func TestStore_KeepsTheContract(t *testing.T) {
	pinsvctest.RunBackendTests(t, func(t *testing.T) pinsvctest.Harness {
		s := newStore(nil, delegate)
		t.Cleanup(s.Close)
		return pinsvctest.Harness{
			Backend:      s,
			SetStatus:    s.setStatus,
			PinElsewhere: s.pinElsewhere,
			Keeps:        s.keeps,
			Cut:          s.cut,
		}
	})
}

// setStatus changes the status of a pin.
func (s *store) setStatus(t testing.TB, requestID string, status pinsvc.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, st, err := s.find(requestID)
	if err != nil {
		t.Fatal(err)
	}
	st.Status, st.Info = status, nil
	if status == pinsvc.StatusFailed {
		st.Info = map[string]string{"status_details": "the test wants it"}
	}
	s.pins[key] = st
	s.release(key)
}

// keeps reports whether the store has the content of a CID, or is to have it.
func (s *store) keeps(_ testing.TB, c cid.Cid) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, held := s.pins[pinsvc.PinKey(c)]
	return held || slices.ContainsFunc(s.kept, func(k keptPin) bool { return k.key == pinsvc.PinKey(c) })
}

// pinElsewhere is an import: pins with a creation time of their own.
func (s *store) pinElsewhere(_ testing.TB, created time.Time, pins ...pinsvc.Pin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pin := range pins {
		st := s.put(pin)
		st.Created = created.UTC()
		s.pins[pinsvc.PinKey(pin.CID)] = st
		if s.latest.Before(created) {
			s.latest = created.UTC()
		}
	}
}

// cut makes the store unavailable until mend is called.
func (s *store) cut(testing.TB) (mend func()) {
	set := func(closed bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed = closed
	}
	set(true)
	return func() { set(false) }
}

func TestPageEnd_IsBetweenCreationTimes(t *testing.T) {
	for _, tt := range []struct {
		times string
		limit int
		want  int
	}{
		{"", 10, 0}, {"abc", 10, 3}, {"abc", 2, 2}, {"abbc", 2, 1}, {"aaab", 2, 3}, {"aaaa", 2, 4}, {"abbb", 1, 1},
	} {
		t.Run(fmt.Sprintf("%s by %d", tt.times, tt.limit), func(t *testing.T) {
			sorted := make([]pinsvc.PinStatus, len(tt.times))
			for i, letter := range tt.times {
				sorted[i].Created = time.UnixMilli(int64('z' - letter))
			}
			if got := pageEnd(sorted, tt.limit); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}
