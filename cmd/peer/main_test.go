package peer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/cmdutils"
	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"
	ma "github.com/multiformats/go-multiaddr"
)

// deadline bounds failures; no test waits for it to pass.
const deadline = time.Minute

func TestMain(m *testing.M) {
	// Closing a configuration waits for this long.
	clusterconfig.ConfigSaveInterval = 10 * time.Millisecond
	os.Exit(m.Run())
}

// edit changes the sections of a service.json.
type edit func(sections map[string]map[string]any)

// without removes components, given as section and key.
func without(names ...[2]string) edit {
	return func(sections map[string]map[string]any) {
		for _, name := range names {
			delete(sections[name[0]], name[1])
		}
	}
}

// with adds or replaces a component.
func with(section, key string, value any) edit {
	return func(sections map[string]map[string]any) {
		if sections[section] == nil {
			sections[section] = make(map[string]any)
		}
		sections[section][key] = value
	}
}

var noAPIs = without([2]string{"api", "restapi"}, [2]string{"api", "pinsvcapi"}, [2]string{"api", "ipfsproxy"})

// upstreamFiles writes service.json and identity.json as ipfs-cluster-service
// init does, with its own packages, loopback ports of the system's choice and
// quick timing, and then edits the JSON.
func upstreamFiles(t *testing.T, consensus, datastore string, edits ...edit) Files {
	t.Helper()
	files := FilesIn(t.TempDir())
	helper := cmdutils.NewConfigHelper(files.Config, files.Identity, consensus, datastore)
	defer helper.Manager().Shutdown()
	noError(t, helper.Manager().Default())
	noError(t, helper.Identity().Default())
	cfgs := helper.Configs()
	anyPort := []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")}
	cfgs.Cluster.ListenAddr = anyPort
	cfgs.Cluster.MDNSInterval = 0
	cfgs.Cluster.MonitorPingInterval = time.Second
	cfgs.Cluster.PeerWatchInterval = 100 * time.Millisecond
	cfgs.Cluster.PubSub.HeartbeatInterval = 200 * time.Millisecond
	cfgs.Restapi.HTTPListenAddr = anyPort
	cfgs.Pinsvcapi.HTTPListenAddr = anyPort
	cfgs.Ipfsproxy.ListenAddr = anyPort
	cfgs.Crdt.TrustAll = true
	cfgs.Raft.WaitForLeaderTimeout = time.Second
	noError(t, helper.SaveConfigToDisk())
	noError(t, helper.SaveIdentityToDisk())
	editFile(t, files.Config, edits...)
	return files
}

func editFile(t *testing.T, path string, edits ...edit) {
	t.Helper()
	content, err := os.ReadFile(path)
	noError(t, err)
	var sections map[string]map[string]any
	noError(t, json.Unmarshal(content, &sections))
	for _, change := range edits {
		change(sections)
	}
	content, err = json.MarshalIndent(sections, "", "  ")
	noError(t, err)
	noError(t, os.WriteFile(path, content, 0o600))
}

// configuration is a configuration that closes with the test.
func configuration(t *testing.T, files Files) *Configuration {
	t.Helper()
	c := NewConfiguration(files, "", "")
	t.Cleanup(c.Close)
	return c
}

func loaded(t *testing.T, files Files) *Configuration {
	t.Helper()
	c := configuration(t, files)
	noError(t, c.Load())
	return c
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hasFile reports whether there is such a file in the folder.
func hasFile(files Files, name string) bool {
	_, err := os.Stat(filepath.Join(files.Folder(), name))
	return err == nil
}
