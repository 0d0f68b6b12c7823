package integration

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// statusOf is nil when a pin has the status and the text in its details.
func statusOf(peer *harness.Peer, c, status, details string) error {
	pin, err := peer.Get(c)
	if err == nil && (pin.Status != status || !strings.Contains(pin.Info["status_details"], details)) {
		err = fmt.Errorf("it is %s (%v)", pin.Status, pin.Info)
	}
	return err
}

// neverPinned looks again and again whether a peer says pinned of content that is not there, by a GET and in its
// lists. end ends that.
func neverPinned(t *testing.T, peer *harness.Peer, c string) (end func()) {
	t.Helper()
	answers, never := 0, true
	look := func(pin harness.Pin, err error, where string) {
		if err != nil {
			return // A busy machine may leave one unanswered.
		}
		if answers++; pin.Status == "pinned" {
			t.Errorf("%s says pinned, and the content is not there: %v", where, pin.Info)
			never = false
		}
	}
	stop := await.Meanwhile(t, 20*time.Millisecond, func() bool {
		pin, err := peer.Get(c)
		look(pin, err, "GET")
		page, err := peer.List("cid=" + c + "&status=queued,pinning,pinned,failed")
		for _, row := range page.Results {
			look(row, err, "a list")
		}
		page, err = peer.List("status=pinned&limit=1000")
		for _, row := range page.Results {
			if row.RequestID == c {
				look(row, err, "a list of what is pinned")
			}
		}
		return never
	})
	return func() {
		t.Helper()
		stop()
		if t.Logf("%d answers on its status", answers); answers < 100 {
			t.Errorf("there were only %d answers", answers)
		}
	}
}

// Kubo reports an error after its response has begun: the content has a block that
// nobody can decode, and it arrives late. Upstream counts the try as a success (U38 in
// docs/upstream-faults.md).
func TestContentThatCannotBeWalkedFailsWithTheNodesReason(t *testing.T) {
	t.Parallel()
	peer, client := service(t)
	child := strings.TrimSpace(client.IpfsStdin("\xff this is no CBOR", "block", "put", "--cid-codec=dag-cbor"))
	root := strings.TrimSpace(client.IpfsStdin(
		fmt.Sprintf(`{"Data":{"/":{"bytes":"CAE"}},"Links":[{"Hash":{"/":%q},"Name":"child","Tsize":30}]}`, child),
		"dag", "put", "--input-codec=dag-json", "--store-codec=dag-pb", "--pin=false"))
	addrs := strings.Fields(client.Ipfs("id", "--format=<addrs>"))

	client.Process().Signal(syscall.SIGSTOP)
	r := request(t, peer, http.MethodPost, "/pins", map[string]any{"cid": root, "origins": addrs})
	want(t, r, http.StatusAccepted, "")
	end := neverPinned(t, peer, root)
	harness.Eventually(t, harness.Timeout, "the try has begun", func() error { return statusOf(peer, root, "pinning", "") })
	// Kubo begins its response after half a second.
	harness.Always(t, 2*time.Second, "it is fetched", func() error { return statusOf(peer, root, "pinning", "") })
	client.Process().Signal(syscall.SIGCONT)

	harness.Eventually(t, 2*harness.Timeout, "it has failed", func() error { return statusOf(peer, root, "failed", "attempt 3 of 3") })
	pin, err := peer.Get(root)
	if err != nil || pin.Info["attempts"] != "3" || !strings.Contains(pin.Info["status_details"], "invalid majorByte") {
		t.Errorf("want the node's own reason, got %v, %v", pin.Info, err)
	}
	end()
}

// A disk that is full in the middle of a download.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	const mega = 1 << 20
	h := harness.New(t)
	disk := h.Disk(64 * mega)
	peer := h.Peer(harness.InitOptions{})
	peer.Edit(func(c harness.Section) { c.Section("ipfs_connector", "managed").Set("repo_path", disk.Dir+"/ipfs") })
	peer.Start()
	client := h.Kubo()
	client.Start()
	addrs := strings.Fields(client.Ipfs("id", "--format=<addrs>"))
	small := client.Add("fits")
	peer.WaitPinned(peer.Add(small, "small", addrs...).RequestID)

	content := make([]byte, 90*mega)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	big := client.Add(string(content)).String()
	began := time.Now()
	want(t, request(t, peer, http.MethodPost, "/pins", map[string]any{"cid": big, "origins": addrs}), http.StatusAccepted, "")
	end := neverPinned(t, peer, big)
	harness.Eventually(t, 2*harness.Timeout, "it has failed", func() error {
		return statusOf(peer, big, "failed", "no space left on device")
	})
	t.Logf("failed after %s", time.Since(began).Round(time.Second))
	ready := request(t, peer, http.MethodGet, "/ready", nil)
	want(t, ready, http.StatusOK, "storage full")
	if err := statusOf(peer, small.String(), "pinned", ""); err != nil {
		t.Errorf("the small pin: %v", err)
	}

	// The content cannot fit, whatever is collected: the download is not begun again.
	peer.Ipfs("repo", "gc", "--quiet")
	harness.Always(t, 2*harness.Settle, "the download is not begun again", func() error {
		if free := disk.Free(); free < 40*mega {
			return fmt.Errorf("%d MB free", free/mega)
		}
		return statusOf(peer, big, "failed", "no space left on device")
	})
	page, err := peer.List("status=queued,pinning,pinned,failed")
	if err != nil || page.Count != 2 {
		t.Errorf("the list: %v, %v", page, err)
	}

	end() // From now on nobody asks for it: a GET would ask the peer.
	disk.Resize(256 * mega)
	began = time.Now()
	harness.Eventually(t, 30*time.Second, "it goes on by itself", func() error {
		page, err := peer.List("cid=" + big + "&status=pinned")
		if err == nil && page.Count != 1 {
			err = harness.ErrNotYet
		}
		return err
	})
	t.Logf("pinned %s after there was space", time.Since(began).Round(time.Second))
	if err := peer.HoldsOffline(big); err != nil {
		t.Errorf("it is pinned, and the node does not hold it: %v", err)
	}
	harness.Eventually(t, harness.Timeout, "the storage is not full any more", func() error {
		if r := request(t, peer, http.MethodGet, "/ready", nil); bytes.Contains(r.Body, []byte("storage")) {
			return fmt.Errorf("%s", r.Body)
		}
		return nil
	})
}
