package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// Kubo cannot note pins any more after its disk was full, however much is free then
// (U58 in docs/upstream-faults.md).
func TestFullDisk_ANodeThatDoesNotSeeSpaceIsRestarted(t *testing.T) {
	t.Parallel()
	const mega = 1 << 20
	h := harness.New(t)
	disk := h.Disk(64 * mega)
	peer := h.Peer(harness.InitOptions{})
	peer.Edit(func(c harness.Section) {
		c.Section("ipfs_connector", "managed").Set("repo_path", disk.Dir+"/ipfs")
		c.Section("api", "pinsvcapi").Set("max_pin_attempts", 1)
	})
	peer.Start()

	// Content that is there, so that nothing but the pin is written.
	folder := t.TempDir()
	args := []string{"add", "--quiet", "--pin=false", "--cid-version=1"}
	for i := range 60 {
		path := filepath.Join(folder, fmt.Sprint(i))
		if err := os.WriteFile(path, []byte(path), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	cids := strings.Fields(peer.Ipfs(args...))
	post := func(c string) {
		t.Helper()
		want(t, request(t, peer, http.MethodPost, "/pins", map[string]any{"cid": c}), http.StatusAccepted, "")
	}
	gone, cids := cids[0], cids[1:]
	post(gone)
	peer.WaitPinned(gone)

	// The second time is within the pause between two restarts.
	for round := range 2 {
		these := cids[round*len(cids)/2 : (round+1)*len(cids)/2]
		free := disk.Fill(0)
		for _, c := range these {
			post(c)
		}
		harness.Eventually(t, 2*harness.Timeout, "the node has reported its full disk", func() error {
			return statusOf(peer, these[len(these)-1], "failed", "datastore")
		})
		if round == 0 {
			want(t, request(t, peer, http.MethodDelete, "/pins/"+gone, nil), http.StatusAccepted, "")
		}
		want(t, request(t, peer, http.MethodGet, "/ready", nil), http.StatusOK, "storage full")
		free()
		began := time.Now()
		harness.Eventually(t, 30*time.Second, "all is pinned that should be", func() error {
			return hasAll(t, peer, cids[:(round+1)*len(cids)/2], gone)
		})
		t.Logf("round %d: all is well %s after there was space", round+1, time.Since(began).Round(time.Second))
	}
}

// hasAll is nil when all of the CIDs are pinned, nothing else is, and nothing is said of a full disk.
func hasAll(t *testing.T, peer *harness.Peer, cids []string, gone string) error {
	t.Helper()
	page, err := peer.List("limit=1000&status=pinned")
	if err == nil && page.Count != len(cids) {
		err = fmt.Errorf("%d of %d are pinned", page.Count, len(cids))
	}
	if err != nil {
		return err
	}
	pins := peer.Ipfs("pin", "ls", "--type=recursive", "--quiet")
	if strings.Contains(pins, gone) {
		return fmt.Errorf("the IPFS node has %s still", gone)
	}
	for _, c := range cids {
		if !strings.Contains(pins, c) {
			return fmt.Errorf("the IPFS node has not pinned %s", c)
		}
	}
	if r := request(t, peer, http.MethodGet, "/ready", nil); bytes.Contains(r.Body, []byte("storage")) {
		return fmt.Errorf("%s", r.Body)
	}
	return nil
}
