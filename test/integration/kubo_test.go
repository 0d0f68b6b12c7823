package integration

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

func TestKuboAddsContentThatOnlyItHas(t *testing.T) {
	t.Parallel()
	peer, client := service(t)
	// More than one block, so that the walk below the root is real too.
	c := client.Add(strings.Repeat("the quick brown fox jumps over the lazy dog\n", 20_000))
	if err := peer.HoldsOffline(c.String()); err == nil {
		t.Fatal("the service's node has the content before it was asked for")
	}

	out := client.Ipfs("pin", "remote", "add", "--service=svc", "--name=fox", c.String())
	for _, line := range []string{"CID: " + c.String(), "Name: fox", "Status: pinned"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), line) {
			t.Errorf("want %q in what `pin remote add` prints:\n%s", line, out)
		}
	}

	client.Stop()
	if err := peer.HoldsOffline(c.String()); err != nil {
		t.Errorf("pinned, but the service's node does not hold it: %v", err)
	}
	if got := peer.Ipfs("cat", c.String()); !strings.HasPrefix(got, "the quick brown fox") {
		t.Errorf("the content reads %.40q", got)
	}
}

func TestKuboListsAndRemoves(t *testing.T) {
	t.Parallel()
	_, client := service(t)
	apple, pear := client.Add("apple"), client.Add("pear")
	client.Ipfs("pin", "remote", "add", "--service=svc", "--name=apple", apple.String())
	client.Ipfs("pin", "remote", "add", "--service=svc", "--name=pear", pear.String())
	nowhere := unknown(t, "")

	t.Run("add in the background returns at once", func(t *testing.T) {
		out := client.Ipfs("pin", "remote", "add", "--service=svc", "--name=nowhere", "--background", nowhere.String())
		if !strings.Contains(out, "queued") && !strings.Contains(out, "pinning") {
			t.Errorf("want queued or pinning of content that nobody has, got:\n%s", out)
		}
	})
	pinApple := harness.RemotePin{CID: apple.String(), Status: "pinned", Name: "apple"}
	pinPear := harness.RemotePin{CID: pear.String(), Status: "pinned", Name: "pear"}
	lists := []struct {
		name string
		args []string
		want []harness.RemotePin
	}{
		{"without arguments: the pinned, newest first", nil, []harness.RemotePin{pinPear, pinApple}},
		{"by name", []string{"--name=apple"}, []harness.RemotePin{pinApple}},
		{"by cid", []string{"--cid=" + pear.String()}, []harness.RemotePin{pinPear}},
		{"by several cids", []string{"--cid=" + pear.String() + "," + apple.String()}, []harness.RemotePin{pinPear, pinApple}},
		{"by name and cid that do not meet", []string{"--name=apple", "--cid=" + pear.String()}, nil},
		{"by a status that nothing has", []string{"--status=failed"}, nil},
		{"pinned ones by a name that is not pinned", []string{"--name=nowhere"}, nil},
	}
	for _, test := range lists {
		t.Run("ls "+test.name, func(t *testing.T) {
			if got := client.RemotePins("svc", test.args...); !slices.Equal(got, test.want) {
				t.Errorf("want %v, got %v", test.want, got)
			}
		})
	}
	t.Run("ls by status finds what is under way", func(t *testing.T) {
		got := client.RemotePins("svc", "--status=queued,pinning")
		if len(got) != 1 || got[0].CID != nowhere.String() || got[0].Name != "nowhere" {
			t.Errorf("want the pin of content that nobody has, got %v", got)
		}
	})
	t.Run("service ls --stat counts", func(t *testing.T) {
		out := client.Ipfs("pin", "remote", "service", "ls", "--stat")
		fields := strings.Fields(out)
		// The columns are the service, its endpoint and queued/pinning/pinned/failed.
		if len(fields) != 3 || fields[0] != "svc" || (fields[2] != "1/0/2/0" && fields[2] != "0/1/2/0") {
			t.Errorf("want two pinned and one under way, got:\n%s", out)
		}
	})
	t.Run("rm of several wants --force", func(t *testing.T) {
		r := client.Try("pin", "remote", "rm", "--service=svc")
		if r.Err == nil || !strings.Contains(r.Stderr, "--force") {
			t.Errorf("want a refusal that names --force, got %v, %s", r.Err, r.Stderr)
		}
	})
	t.Run("rm by name", func(t *testing.T) {
		client.Ipfs("pin", "remote", "rm", "--service=svc", "--name=apple")
		if got := client.RemotePins("svc"); !slices.Equal(got, []harness.RemotePin{pinPear}) {
			t.Errorf("want the pear only, got %v", got)
		}
	})
	t.Run("rm --force of everything", func(t *testing.T) {
		client.Ipfs("pin", "remote", "rm", "--service=svc", "--force", harness.AllStatuses)
		if got := client.RemotePins("svc", harness.AllStatuses); len(got) != 0 {
			t.Errorf("want nothing, got %v", got)
		}
	})
}

func TestKuboWithABadToken(t *testing.T) {
	t.Parallel()
	peer, client := service(t)
	client.AddService("bad", peer.Endpoint(), "not-a-token")

	for _, args := range [][]string{
		{"pin", "remote", "ls", "--service=bad"},
		{"pin", "remote", "add", "--service=bad", "--background", unknown(t, "").String()},
		{"pin", "remote", "rm", "--service=bad", "--force"},
	} {
		r := client.Try(args...)
		if r.Err == nil || !strings.Contains(r.Stderr, "UNAUTHORIZED") {
			t.Errorf("ipfs %s: want UNAUTHORIZED, got %v, %s", strings.Join(args, " "), r.Err, r.Stderr)
		}
	}
	out := client.Ipfs("pin", "remote", "service", "ls", "--stat")
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if valid := fields[len(fields)-1] != "invalid"; valid != (fields[0] == "svc") {
			t.Errorf("want svc valid and bad invalid, got:\n%s", out)
		}
	}
	if got := client.RemotePins("svc", harness.AllStatuses); len(got) != 0 {
		t.Errorf("the bad token made pins: %v", got)
	}
}

// Kubo pages by the creation time of the last pin of a page: pins made within
// one second are where a service loses or repeats some.
func TestKuboSeesFiftyPinsOfOneSecondOnceEach(t *testing.T) {
	t.Parallel()
	peer, client := service(t)
	const n = 50
	want := make([]string, 0, n)
	for i := range n {
		want = append(want, unknown(t, fmt.Sprint(i)).String())
	}
	boxo := peer.Client()
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			if _, err := boxo.Add(t.Context(), unknown(t, fmt.Sprint(i))); err != nil {
				t.Errorf("adding pin %d: %v", i, err)
			}
		})
	}
	group.Wait()

	var got []string
	for _, pin := range client.RemotePins("svc", harness.AllStatuses) {
		got = append(got, pin.CID)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("want %d pins, each once; got %d, %d of them different", n, len(got), len(slices.Compact(slices.Clone(got))))
	}
	client.Ipfs("pin", "remote", "rm", "--service=svc", "--force", harness.AllStatuses)
	if left := client.RemotePins("svc", harness.AllStatuses); len(left) != 0 {
		t.Errorf("rm --force left %d of %d pins", len(left), n)
	}
}
