package pinsvcapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pinsvc/ipfs-cluster-pinsvc"

// listed is what the rules need of "go list -json".
type listed struct {
	ImportPath    string
	Imports, Deps []string
}

// room is the path of a package of ours within the module.
func room(path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, module), "/") }

// inRoom reports whether path is that room of ours, or within it.
func inRoom(path, name string) bool {
	ours := path == module || strings.HasPrefix(path, module+"/")
	return ours && (room(path) == name || strings.HasPrefix(room(path), name+"/"))
}

// rule is one sentence of the architecture about imports.
type rule struct {
	// from says whether the rule is about a package.
	from func(path string) bool
	// deep: what those packages import is looked at too.
	deep bool
	// forbids says whether an import breaks the rule.
	forbids func(path string) bool
	reason  string
}

func only(rooms ...string) func(string) bool {
	return func(path string) bool { return slices.Contains(rooms, room(path)) }
}

func except(rooms ...string) func(string) bool {
	return func(path string) bool {
		return !slices.ContainsFunc(rooms, func(r string) bool { return inRoom(path, r) })
	}
}

// oursBut is every package of ours but those and the leaves in internal.
func oursBut(rooms ...string) func(string) bool {
	return func(path string) bool {
		return strings.HasPrefix(path, module) && !slices.Contains(rooms, room(path)) && !inRoom(path, "internal")
	}
}

func anyOf(paths ...string) func(string) bool {
	return func(path string) bool { return slices.Contains(paths, path) }
}

func within(prefix string) func(string) bool {
	return func(path string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }
}

// engine is where the rooms of the backend are.
const engine = "pinsvcapi/clusterrpc/internal"

func engineRooms(names ...string) []string {
	rooms := make([]string, len(names))
	for i, name := range names {
		rooms[i] = engine + "/" + name
	}
	return rooms
}

func rules() []rule {
	const cluster = "github.com/ipfs-cluster/ipfs-cluster"
	return []rule{
		{only("pinsvcapi/pinsvc"), true, oursBut("pinsvcapi/pinsvc", "internal/jsonobject"),
			"the contract is what all others build on"},
		{only("pinsvcapi/pinsvc"), false, anyOf("net", "net/http", "os", "log", "github.com/ipfs/go-log/v2"),
			"the contract opens no sockets and writes no log"},
		{only("config"), true, oursBut("config", "internal/sectionconfig", "internal/jsonobject"),
			"config is a leaf: it can be read without the service"},
		{only("internal/sectionconfig"), true, oursBut("internal/sectionconfig", "internal/jsonobject"),
			"sectionconfig is a leaf: it knows no section"},
		{only("internal/jsonobject"), true, oursBut("internal/jsonobject"),
			"jsonobject is a leaf: the contract reads with it too"},
		{only("pinsvcapi/ratelimit"), true, oursBut("pinsvcapi/ratelimit"),
			"ratelimit is a leaf"},
		{func(path string) bool { return inRoom(path, "internal") }, true,
			func(path string) bool { return strings.HasPrefix(path, module) && !inRoom(path, "internal") },
			"internal packages are leaves: every room may use them"},
		{only("pinsvcapi/ratelimit", "pinsvcapi/pinset", "pinsvcapi/clusterrpc"), false, anyOf("net/http"),
			"only the component speaks HTTP"},
		{only("pinsvcapi/pinset"), true, oursBut("pinsvcapi/pinset", "pinsvcapi/pinsvc", "internal/jsonobject"),
			"the view knows the contract and nothing else"},
		{only("pinsvcapi/pinset"), true, anyOf("net/http", "github.com/libp2p/go-libp2p-gorpc"),
			"the view is memory: it asks nobody"},
		{only("pinsvcapi/auth"), true, oursBut("pinsvcapi/auth", "pinsvcapi/pinsvc", "internal/jsonobject"),
			"auth says who calls, not what they may do"},
		{func(path string) bool {
			return inRoom(path, "pinsvcapi/clusterrpc") && !inRoom(path, "pinsvcapi/clusterrpc/clustertest")
		}, true,
			func(path string) bool {
				ours := path == module || strings.HasPrefix(path, module+"/")
				return ours && !inRoom(path, "pinsvcapi/clusterrpc") && !inRoom(path, "internal") && room(path) != "pinsvcapi/pinset" && room(path) != "pinsvcapi/pinsvc" && room(path) != "pinsvcapi/ratelimit"
			},
			"the backend does not know who serves it: imports run one way"},
		{func(path string) bool { return inRoom(path, engine) }, false, anyOf("net/http"),
			"only the component speaks HTTP"},
		{only(engine + "/clusterapi"), true, oursBut(engine+"/clusterapi", "pinsvcapi/pinsvc"),
			"the client of the cluster knows nothing of what is done with it"},
		{only(engine + "/pinrecord"), true, oursBut(engine+"/pinrecord", "pinsvcapi/pinsvc"),
			"the codec of records has no side effects"},
		{only(engine+"/peerstatus", engine+"/pinrecord"), false, anyOf("context", "github.com/libp2p/go-libp2p-gorpc"),
			"statuses and records are pure: they ask nobody and wait for nothing"},
		{only(engine + "/peerstatus"), false, oursBut(append(engineRooms("peerstatus", "pinrecord", "clusterapi"), "pinsvcapi/pinset", "pinsvcapi/pinsvc", "internal/backoff")...),
			"peerstatus is a reducer: records and reports in, statuses out"},
		{only(engine + "/statesync"), false, oursBut(append(engineRooms("statesync", "clusterapi", "pinrecord", "keylock", "progress", "span"), "pinsvcapi/pinsvc", "internal/backoff")...),
			"the syncer knows its sink by an interface alone"},
		{only(engine + "/statewrite"), false, oursBut(append(engineRooms("statewrite", "statesync", "clusterapi", "pinrecord", "keylock", "span"), "pinsvcapi/pinsvc")...),
			"writes stand on the syncer, and know no statuses"},
		{only(engine + "/poll"), false, oursBut(append(engineRooms("poll", "clusterapi", "peerstatus", "taskgroup", "progress"), "pinsvcapi/pinset", "pinsvcapi/pinsvc", "internal/backoff")...),
			"polls enter reports, and know neither records nor writes"},
		{only(engine + "/replacement"), false, oursBut(append(engineRooms("replacement", "pinrecord", "peerstatus"), "pinsvcapi/pinset", "pinsvcapi/pinsvc")...),
			"the index is fed with records: it reads and writes none"},
		{only(engine + "/repair"), false, oursBut(append(engineRooms("repair", "clusterapi", "pinrecord", "peerstatus", "replacement", "statesync", "statewrite", "poll"), "pinsvcapi/pinset", "pinsvcapi/pinsvc")...),
			"repairs stand on statuses, writes and polls"},
		{only(engine + "/delegates"), false, oursBut(append(engineRooms("delegates", "clusterapi", "taskgroup"), "pinsvcapi/pinsvc")...),
			"delegates are addresses and nothing else"},
		{only(engine + "/clockskew"), true, oursBut(engine + "/clockskew"),
			"clocks are measured with one call and nothing else"},
		{only(engine + "/remoteread"), false, oursBut(append(engineRooms("remoteread", "clusterapi", "pinrecord", "taskgroup"), "pinsvcapi/pinset", "pinsvcapi/pinsvc", "pinsvcapi/ratelimit", "internal/backoff")...),
			"remote reads ask other peers, and change nothing"},
		{only(engineRooms("keylock", "taskgroup", "progress", "span")...), true, oursBut(engineRooms("keylock", "taskgroup", "progress", "span")...),
			"the tools of the engine are leaves"},
		{only("pinsvcapi/clusterrpc/watch"), false, oursBut("pinsvcapi/clusterrpc", engine+"/keylock"),
			"what watches the tracker knows the backend that it announces to and nothing else"},
		{only("pinsvcapi"), true, func(path string) bool { return inRoom(path, "cmd") || inRoom(path, "test") },
			"the component is a library: the daemon is built on it"},
		{func(path string) bool { return inRoom(path, "cmd/peer") }, true,
			func(path string) bool { return inRoom(path, "cmd/ipfs-cluster-pinsvc") || inRoom(path, "test") },
			"the peer is a library: the program is built on it"},
		{except("pinsvcapi/clusterrpc", "cmd", "test", "config"), false, within(cluster),
			"only clusterrpc and cmd know types of the cluster (config its config interface)"},
		{only("config"), false, func(path string) bool { return within(cluster)(path) && path != cluster+"/config" },
			"config knows the cluster's config interface and nothing else of it"},
		{except("test"), false, func(path string) bool {
			return within(cluster+"/api/pinsvcapi")(path) || within(cluster+"/api/common")(path)
		}, "we replace the cluster's own pinsvcapi"},
		{func(path string) bool { return inRoom(path, "examples") }, true,
			func(path string) bool { return inRoom(path, "test") },
			"examples show what an embedder can import"},
		{except("examples"), false, func(path string) bool { return inRoom(path, "examples") },
			"examples are for readers: nothing is built on them"},
		{except("test"), true, func(path string) bool { return inRoom(path, "pinsvcapi/pinsvctest") },
			"pinsvctest is for tests"},
		{except("test"), true, func(path string) bool { return inRoom(path, "pinsvcapi/clusterrpc/internal/clusterfake") },
			"clusterfake is for tests"},
		{except("test"), true, func(path string) bool { return inRoom(path, "internal/await") },
			"await is for tests"},
		{except("pinsvcapi", "test"), false, anyOf("github.com/gorilla/mux"),
			"only the component has routes"},
	}
}

// goList runs "go list -json" and reads its stream of objects.
func goList(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v: %s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var packages []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// broken are the rules that an import of from breaks.
func broken(from string, imports []string, deep bool) (faults []string) {
	for _, r := range rules() {
		if r.deep != deep || !r.from(from) {
			continue
		}
		for _, path := range imports {
			if path != from && r.forbids(path) {
				faults = append(faults, room(from)+" imports "+path+": "+r.reason)
			}
		}
	}
	return faults
}

func TestImports_RunOneWay(t *testing.T) {
	packages := goList(t, module+"/...")
	seen := make(map[string]bool)
	for _, p := range packages {
		seen[room(p.ImportPath)] = true
		for _, fault := range slices.Concat(broken(p.ImportPath, p.Imports, false), broken(p.ImportPath, p.Deps, true)) {
			t.Error(fault)
		}
	}
	for _, want := range []string{"config", "pinsvcapi", "pinsvcapi/pinsvc", "pinsvcapi/auth", "pinsvcapi/ratelimit", "pinsvcapi/clusterrpc", "pinsvcapi/pinsvctest"} {
		if !seen[want] {
			t.Errorf("%s was not checked", want)
		}
	}
}

func TestImports_RulesNoticeWhatBreaksThem(t *testing.T) {
	const cluster = "github.com/ipfs-cluster/ipfs-cluster"
	tests := []struct{ from, path, reason string }{
		{"pinsvcapi/pinsvc", module + "/config", "all others build on"},
		{"pinsvcapi/pinsvc", "net/http", "no sockets"},
		{"pinsvcapi/clusterrpc", module + "/pinsvcapi", "one way"},
		{"pinsvcapi/clusterrpc", "net/http", "speaks HTTP"},
		{engine + "/poll", "net/http", "speaks HTTP"},
		{engine + "/peerstatus", "context", "pure"},
		{engine + "/peerstatus", module + "/" + engine + "/statesync", "reducer"},
		{engine + "/statesync", module + "/" + engine + "/peerstatus", "interface"},
		{engine + "/statewrite", module + "/" + engine + "/poll", "no statuses"},
		{engine + "/poll", module + "/" + engine + "/statewrite", "neither records nor writes"},
		{engine + "/clusterapi", module + "/pinsvcapi/pinset", "nothing of what is done"},
		{engine + "/repair", module + "/pinsvcapi", "one way"},
		{"pinsvcapi", module + "/cmd/peer", "library"},
		{"pinsvcapi", cluster + "/api", "only clusterrpc"},
		{"pinsvcapi/auth", cluster + "/api", "only clusterrpc"},
		{"config", module + "/pinsvcapi", "leaf"},
		{"config", cluster + "/api", "config interface"},
		{"cmd/peer", module + "/pinsvcapi/pinsvctest", "for tests"},
		{"cmd/peer", cluster + "/api/pinsvcapi", "replace"},
		{"examples/embed", module + "/test/harness", "embedder"},
		{"cmd/peer", module + "/examples/embed", "readers"},
		{"internal/backoff", module + "/config", "leaves"},
		{"pinsvcapi", module + "/internal/await", "for tests"},
	}
	for _, tt := range tests {
		from := module + "/" + tt.from
		faults := slices.Concat(broken(from, []string{tt.path}, false), broken(from, []string{tt.path}, true))
		if !slices.ContainsFunc(faults, func(fault string) bool { return strings.Contains(fault, tt.reason) }) {
			t.Errorf("%s may import %s: %q", tt.from, tt.path, faults)
		}
	}
	for _, ok := range []struct{ from, path string }{
		{"pinsvcapi", module + "/config"}, {"pinsvcapi", module + "/pinsvcapi/clusterrpc"}, {"pinsvcapi/clusterrpc", cluster + "/api"},
		{"cmd/peer", cluster}, {"examples/embed", module + "/cmd/peer"}, {"config", cluster + "/config"}, {"pinsvcapi/auth", module + "/pinsvcapi/pinsvc"},
		{"pinsvcapi/clusterrpc", module + "/internal/backoff"}, {"config", module + "/internal/atomicfile"},
	} {
		from := module + "/" + ok.from
		if faults := slices.Concat(broken(from, []string{ok.path}, false), broken(from, []string{ok.path}, true)); len(faults) > 0 {
			t.Errorf("%s may not import %s: %q", ok.from, ok.path, faults)
		}
	}
}
