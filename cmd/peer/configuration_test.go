package peer

import (
	"errors"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"

	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"
)

// A file of ipfs-cluster 1.1.x means with us what it means there (D9).
func TestConfiguration_LoadsWhatUpstreamWrote(t *testing.T) {
	for _, engine := range [][2]string{{"crdt", "pebble"}, {"crdt", "badger3"}, {"crdt", "leveldb"}, {"raft", ""}} {
		t.Run(engine[0]+" "+engine[1], func(t *testing.T) {
			files := upstreamFiles(t, engine[0], engine[1])
			before, err := os.ReadFile(files.Config)
			noError(t, err)
			c := loaded(t, files)
			consensus, datastore, err := c.Engines()
			noError(t, err)
			if got := [2]string{string(consensus), datastore}; got != engine {
				t.Errorf("engines = %v, want %v", got, engine)
			}
			if !c.HasPinsvcapi() || !c.Has(clusterconfig.API, "restapi") || !c.Has(clusterconfig.API, "ipfsproxy") {
				t.Error("a section of the file is not there")
			}
			if c.HasManaged() {
				t.Error("the file has no managed node")
			}
			if addrs := c.Pinsvcapi.HTTPListenAddr; len(addrs) != 1 || addrs[0].String() != "/ip4/127.0.0.1/tcp/0" {
				t.Errorf("pinsvcapi listens on %v", addrs)
			}
			if unknown, err := c.Unknown(); err != nil || len(unknown) != 0 {
				t.Errorf("unknown keys: %v, %v", unknown, err)
			}
			after, err := os.ReadFile(files.Config)
			noError(t, err)
			if string(before) != string(after) {
				t.Error("loading changed the file")
			}
		})
	}
}

func TestConfiguration_HasOnlyWhatTheFileHas(t *testing.T) {
	files := upstreamFiles(t, "crdt", "pebble", noAPIs, without([2]string{"informer", "tags"}),
		with("ipfs_connector", "managed", map[string]any{"profile": "private"}))
	c := loaded(t, files)
	for name, has := range map[string]bool{
		"restapi":   c.Has(clusterconfig.API, "restapi"),
		"pinsvcapi": c.HasPinsvcapi(),
		"ipfsproxy": c.Has(clusterconfig.API, "ipfsproxy"),
		"tags":      c.Has(clusterconfig.Informer, "tags"),
		"raft":      c.Has(clusterconfig.Consensus, "raft"),
		// The manager itself would say yes to this one.
		"numpin": c.Has(clusterconfig.Informer, "numpin"),
	} {
		if has {
			t.Errorf("%s is said to be there", name)
		}
	}
	if !c.HasManaged() || !c.Has(clusterconfig.Informer, "disk") {
		t.Error("managed or disk is not there")
	}
}

func TestConfiguration_Unknown(t *testing.T) {
	files := upstreamFiles(t, "raft", "", with("ipfs_connector", "kubo", map[string]any{}),
		with("pinning", "pinsvcapi", map[string]any{}))
	unknown, err := loaded(t, files).Unknown()
	noError(t, err)
	if want := []string{"ipfs_connector.kubo", "pinning"}; !reflect.DeepEqual(unknown, want) {
		t.Errorf("unknown = %q, want %q", unknown, want)
	}
}

// Every fault of the file is told, each with the file and its key.
func TestConfiguration_LoadReportsEveryFault(t *testing.T) {
	files := upstreamFiles(t, "crdt", "pebble",
		with("ipfs_connector", "ipfshttp", map[string]any{"node_multiaddress": "nowhere"}),
		with("monitor", "pubsubmon", map[string]any{"check_interval": "often"}),
		with("api", "pinsvcapi", map[string]any{"http_listen_multiaddress": "nowhere"}),
	)
	err := configuration(t, files).Load()
	if err == nil {
		t.Fatal("loaded")
	}
	for _, want := range []string{"ipfs_connector.ipfshttp", "monitor.pubsubmon", "api.pinsvcapi.http_listen_multiaddress"} {
		if !strings.Contains(err.Error(), files.Config+": "+want+": ") {
			t.Errorf("no line for %s in:\n%s", want, err)
		}
	}
}

func TestConfiguration_LoadErrors(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, files Files)
		want  []string
		is    error
	}{
		{"no configuration", func(t *testing.T, f Files) { noError(t, os.Remove(f.Config)) },
			[]string{"service.json", "init"}, fs.ErrNotExist},
		{"no identity", func(t *testing.T, f Files) { noError(t, os.Remove(f.Identity)) },
			[]string{"identity.json", "init"}, fs.ErrNotExist},
		{"bad identity", func(t *testing.T, f Files) { noError(t, os.WriteFile(f.Identity, []byte("{}"), 0o600)) },
			[]string{"identity.json"}, nil},
		{"syntax", func(t *testing.T, f Files) { noError(t, os.WriteFile(f.Config, []byte("{\n\"api\": {,\n}}"), 0o600)) },
			[]string{"service.json, line 2: "}, nil},
		{"no object", func(t *testing.T, f Files) { noError(t, os.WriteFile(f.Config, []byte("[]"), 0o600)) },
			[]string{"service.json: not a JSON object"}, nil},
		{"no object in a section", func(t *testing.T, f Files) {
			noError(t, os.WriteFile(f.Config, []byte(`{"cluster":{},"api":[]}`), 0o600))
		}, []string{"service.json"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := upstreamFiles(t, "crdt", "pebble")
			test.spoil(t, files)
			err := configuration(t, files).Load()
			if err == nil {
				t.Fatal("loaded")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v is not %v", err, test.is)
			}
		})
	}
}

func TestConfiguration_EnginesNamesTheKeys(t *testing.T) {
	for _, test := range []struct {
		name string
		edit edit
		want string
	}{
		{"no consensus", without([2]string{"consensus", "crdt"}), "consensus.raft"},
		{"two consensus", with("consensus", "raft", map[string]any{"init_peerset": []string{}}), "consensus.raft"},
		{"no datastore", without([2]string{"datastore", "pebble"}), "datastore.pebble"},
		{"two datastores", with("datastore", "leveldb", map[string]any{}), "datastore.leveldb"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := loaded(t, upstreamFiles(t, "crdt", "pebble", test.edit)).Engines()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error = %v, want one that names %s", err, test.want)
			}
		})
	}
}

func TestConfiguration_EnvironmentOverrides(t *testing.T) {
	files := upstreamFiles(t, "crdt", "pebble")
	t.Setenv("CLUSTER_PEERNAME", "from-the-environment")
	if name := loaded(t, files).Helper.Configs().Cluster.Peername; name != "from-the-environment" {
		t.Errorf("peername = %q", name)
	}
	t.Setenv("CLUSTER_LEAVEONSHUTDOWN", "perhaps")
	err := configuration(t, files).Load()
	if err == nil || !strings.Contains(err.Error(), "CLUSTER_LEAVEONSHUTDOWN") {
		t.Errorf("error = %v, want one that names the variable", err)
	}
}

// Who may not write there is not told of another peer.
func TestLockAdvice(t *testing.T) {
	files := FilesIn("/data")
	for _, test := range []struct {
		err             error
		says, saysNotOf string
	}{
		{&os.PathError{Op: "lock", Path: "/data/cluster.lock", Err: os.ErrPermission}, "write to /data", "peer"},
		{errors.New("someone else has the lock"), "Another process uses /data", "write"},
	} {
		got := lockAdvice(files, test.err)
		if !strings.Contains(got, test.says) || strings.Contains(got, test.saysNotOf) {
			t.Errorf("%v: %s", test.err, got)
		}
	}
}

func TestLockExcludes(t *testing.T) {
	files := FilesIn(t.TempDir() + "/new")
	lock, err := Lock(files)
	noError(t, err)
	if info, err := os.Stat(files.Folder()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info, err)
	}
	_, err = Lock(files)
	if err == nil || !strings.Contains(err.Error(), "cluster.lock") || strings.Contains(err.Error(), "remove") {
		t.Errorf("second lock: %v", err)
	}
	noError(t, lock.Close())
	lock, err = Lock(files)
	noError(t, err)
	noError(t, lock.Close())
}
