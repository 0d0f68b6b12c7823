//go:build !race || nocheckptr

package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// raftCluster is a Raft cluster of running peers whose IPFS node knows its ID
// and nothing else.
type raftCluster struct {
	t       *testing.T
	files   []Files
	ids     []string
	addrs   map[int]string
	running []*Peer
}

// newRaftCluster makes n peers, of which startAll starts all.
func newRaftCluster(t *testing.T, n int, edits ...edit) *raftCluster {
	t.Helper()
	c := &raftCluster{t: t, addrs: make(map[int]string), running: make([]*Peer, n)}
	server := rpcOfID(t, firstID)
	for i := range n {
		c.files = append(c.files, upstreamFiles(t, "raft", "", append(edits, without([2]string{"api", "ipfsproxy"}), externalNode(t, server))...))
		c.ids = append(c.ids, loaded(t, c.files[i]).Helper.Identity().ID.String())
	}
	return c
}

func (c *raftCluster) start(i int) {
	c.t.Helper()
	editFile(c.t, c.files[i].Config, func(sections map[string]map[string]any) {
		sections["cluster"]["secret"] = strings.Repeat("ef", 32)
		sections["cluster"]["peer_addresses"] = slices.Collect(maps.Values(c.addrs))
		sections["consensus"]["raft"].(map[string]any)["init_peerset"] = c.ids
	})
	c.running[i], _ = newPeer(c.t, c.files[i])
	noError(c.t, c.running[i].Start(c.t.Context()))
	c.addrs[i] = c.running[i].network.host.Addrs()[0].String() + "/p2p/" + c.ids[i]
}

func (c *raftCluster) startAll() {
	c.t.Helper()
	for i := range c.files {
		c.start(i)
	}
	for i := range c.files {
		await.Closed(c.t, "readiness of peer "+c.ids[i], c.running[i].Ready())
	}
}

func (c *raftCluster) stopAll() {
	c.t.Helper()
	for _, p := range c.running {
		noError(c.t, p.Stop(context.Background()))
	}
	clear(c.addrs)
}

func (c *raftCluster) pinsvc(i int) string { return "http://" + c.running[i].PinsvcAddrs()[0] }

func (c *raftCluster) rest(i int) string { return "http://" + restAddr(c.t, c.running[i]) }

// records are the records of a peer by the REST API, in one form.
func (c *raftCluster) records(i int) map[string]string {
	c.t.Helper()
	resp, err := http.Get(c.rest(i) + "/allocations")
	noError(c.t, err)
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	noError(c.t, err)
	if strings.Contains(string(content), "pinsvc.raft") {
		c.t.Error("the REST API shows a mark")
	}
	records := make(map[string]string)
	dec := json.NewDecoder(bytes.NewReader(content))
	for {
		var pin api.Pin
		err := dec.Decode(&pin)
		if errors.Is(err, io.EOF) {
			return records
		}
		noError(c.t, err)
		records[pin.Cid.String()] = canonical(c.t, pin)
	}
}

// canonical is a record as the state stores it.
func canonical(t *testing.T, pin api.Pin) string {
	t.Helper()
	row, err := pin.ProtoMarshal()
	noError(t, err)
	var stored api.Pin
	noError(t, stored.ProtoUnmarshal(row))
	text, err := json.Marshal(stored)
	noError(t, err)
	return string(text)
}

// pinOptions makes options of every shape that ipfs-cluster-ctl sends.
func pinOptions(t *testing.T, r *rand.Rand) api.PinOptions {
	t.Helper()
	opts := api.PinOptions{ReplicationFactorMin: -1, ReplicationFactorMax: -1}
	if r.IntN(2) == 0 {
		opts.Name = fmt.Sprint("by ctl ", r.IntN(1000))
	}
	if r.IntN(2) == 0 {
		opts.Metadata = map[string]string{fmt.Sprint("ctl", r.IntN(4)): fmt.Sprint(r.IntN(1000))}
	}
	if r.IntN(2) == 0 {
		opts.ExpireAt = time.Now().Add(time.Duration(1+r.IntN(100)) * time.Hour)
	}
	if r.IntN(3) == 0 {
		origin, err := api.NewMultiaddr(fmt.Sprintf("/ip4/203.0.113.%d/tcp/4001/p2p/%s", r.IntN(200), secondID))
		noError(t, err)
		opts.Origins = append(opts.Origins, origin)
	}
	return opts
}

func contentCID(t *testing.T, n int) string {
	t.Helper()
	hash, err := multihash.Sum(fmt.Appendf(nil, "content %d", n), multihash.SHA2_256, -1)
	noError(t, err)
	return cid.NewCidV1(cid.Raw, hash).String()
}

// recordStatus is what is compared of a response of the Pinning Service API.
type recordStatus struct {
	Pin struct {
		CID     string            `json:"cid"`
		Name    string            `json:"name,omitempty"`
		Origins []string          `json:"origins,omitempty"`
		Meta    map[string]string `json:"meta,omitempty"`
	} `json:"pin"`
}

func (s recordStatus) String() string {
	text, _ := json.Marshal(s)
	return string(text)
}

// postPin pins by the Pinning Service API and returns what was asked for and
// what the response says.
func postPin(t *testing.T, r *rand.Rand, url, content string) (asked, answered recordStatus) {
	t.Helper()
	asked.Pin.CID = content
	if r.IntN(2) == 0 {
		asked.Pin.Name = fmt.Sprint("by api ", r.IntN(1000))
	}
	if r.IntN(2) == 0 {
		asked.Pin.Meta = map[string]string{fmt.Sprint("api", r.IntN(4)): fmt.Sprint(r.IntN(1000))}
	}
	if r.IntN(3) == 0 {
		asked.Pin.Origins = []string{fmt.Sprintf("/ip4/203.0.113.%d/tcp/4001/p2p/%s", r.IntN(200), secondID)}
	}
	body, err := json.Marshal(asked.Pin)
	noError(t, err)
	await.Success(t, "POST", func() error { // A busy machine may be without a leader for a moment.
		return request(http.MethodPost, url+"/pins", "application/json", bytes.NewReader(body), &answered)
	})
	return asked, answered
}

// U30: with Raft, what a pin leaves empty was filled from the pin before it,
// whoever made both; a restarted peer had other records than the rest.
func TestPeer_RaftRecordsAreWhatWasAskedFor(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("RAFTSTATE_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		noError(t, err)
	}
	t.Logf("RAFTSTATE_SEED=%d", seed)
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			c := newRaftCluster(t, n)
			c.startAll()
			asked := make(map[string]string)          // By ctl: the record that the cluster submitted.
			statuses := make(map[string]recordStatus) // By our API: what the client asked for.
			for range 80 {
				i := r.IntN(n)
				number := r.IntN(40)
				content := contentCID(t, number)
				known := asked[content] != "" || statuses[content].Pin.CID != ""
				switch {
				case known && r.IntN(4) == 0:
					var answer any
					await.Success(t, "DELETE at the REST API", func() error { // Which may not have the pin yet.
						return request(http.MethodDelete, c.rest(i)+"/pins/"+content, "", nil, &answer)
					})
					delete(asked, content)
					delete(statuses, content)
				case number < 20: // What both tools write, the service repairs (D2).
					opts := pinOptions(t, r)
					if from := contentCID(t, number%10); number >= 10 && asked[from] != "" && r.IntN(3) == 0 {
						opts.PinUpdate, _ = api.DecodeCid(from)
					}
					query, err := opts.ToQuery()
					noError(t, err)
					var pin api.Pin
					await.Success(t, "POST to the REST API", func() error {
						return request(http.MethodPost, c.rest(i)+"/pins/"+content+"?"+query, "", nil, &pin)
					})
					asked[content] = canonical(t, pin)
					if got := c.records(i)[content]; got != asked[content] {
						t.Fatalf("at once at the same peer:\n%s, asked was\n%s", got, asked[content])
					}
				default:
					want, answered := postPin(t, r, c.pinsvc(i), content)
					if answered.String() != want.String() {
						t.Fatalf("answered %s, asked was %s", answered, want)
					}
					statuses[content] = want
					var got recordStatus
					noError(t, request(http.MethodGet, c.pinsvc(i)+"/pins/"+content, "", nil, &got))
					if got.String() != want.String() {
						t.Fatalf("GET says %s, asked was %s", got, want)
					}
				}
			}
			before := c.expectRecords("running", asked, statuses, nil)
			c.stopAll()
			c.startAll()
			c.expectRecords("restarted", asked, statuses, before)
		})
	}
}

// expectRecords compares the records of all peers with what was asked for, with
// each other and with those before, and returns them. A peer that follows has
// the last write a moment after the leader; what it shows until then counts for
// nothing.
func (c *raftCluster) expectRecords(when string, asked map[string]string, statuses map[string]recordStatus, before map[string]string) map[string]string {
	c.t.Helper()
	for i := range c.running {
		await.Success(c.t, fmt.Sprintf("%s: the records of peer %d", when, i), func() error {
			if err := c.compareStatuses(i, statuses); err != nil {
				return err
			}
			records := c.records(i)
			if before != nil && !maps.Equal(records, before) { // Of another peer, or before the restart.
				for content, record := range records {
					if before[content] != record {
						return fmt.Errorf("%s, before %s", record, before[content])
					}
				}
				return fmt.Errorf("%d pins, before %d", len(records), len(before))
			}
			if len(records) != len(asked)+len(statuses) {
				return fmt.Errorf("%d pins, want %d", len(records), len(asked)+len(statuses))
			}
			for content, want := range asked {
				if records[content] != want {
					return fmt.Errorf("%s, asked was %s", records[content], want)
				}
			}
			before = records
			return nil
		})
	}
	return before
}

// compareStatuses compares what the Pinning Service API of a peer says with
// what its clients asked for.
func (c *raftCluster) compareStatuses(i int, statuses map[string]recordStatus) error {
	for content, want := range statuses {
		var got recordStatus
		if err := request(http.MethodGet, c.pinsvc(i)+"/pins/"+content, "", nil, &got); err != nil {
			return err
		}
		if got.String() != want.String() {
			return fmt.Errorf("GET says %s, asked was %s", got, want)
		}
	}
	return nil
}
