package peer

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestUnknownVariables(t *testing.T) {
	t.Setenv("CLUSTER_SECRET_FILE", "/run/secrets/cluster")
	t.Setenv("CLUSTER_PEERNAME", "one")
	t.Setenv("CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS_FILE", "/run/secrets/users")
	t.Setenv("CLUSTER_CRDT_BATCHING_MAXBATCHSIZE", "10")
	t.Setenv("CLUSTER_RAFT_HEARTBEATTIMEOUT", "1s") // Known, whichever consensus there is.
	t.Setenv("CLUSTER_MANAGED_REPOPATH", "ipfs")
	t.Setenv("CLUSTER_PINSVC_SERVICE_HOST", "10.0.0.1") // Set by Kubernetes.
	t.Setenv("CLUSTER_PORT_9094_TCP_ADDR", "10.0.0.1")
	if unknown := UnknownVariables(); len(unknown) != 0 {
		t.Errorf("known variables are unknown: %q", unknown)
	}
	t.Setenv("CLUSTER_SECRTE", "x")
	t.Setenv("CLUSTER_PINSVCAPI_BASIC_AUTH_CREDENTIALS", "x")
	t.Setenv("CLUSTER_PEERNAME_FILE", "x")
	t.Setenv("CLUSTER_ENTIRELY_DIFFERENT_THING", "x")
	want := []string{
		"environment variable CLUSTER_ENTIRELY_DIFFERENT_THING is not known and has no effect",
		"environment variable CLUSTER_PEERNAME_FILE is not known and has no effect; is it CLUSTER_PEERNAME?",
		"environment variable CLUSTER_PINSVCAPI_BASIC_AUTH_CREDENTIALS is not known and has no effect; is it CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS?",
		"environment variable CLUSTER_SECRTE is not known and has no effect; is it CLUSTER_SECRET?",
	}
	if got := UnknownVariables(); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The variables of upstream's components are those of its structs, read from
// its source: the fields' names in capitals, as envconfig takes them.
func TestKnownVariables_AreUpstreams(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/ipfs-cluster/ipfs-cluster").Output()
	noError(t, err)
	root := strings.TrimSpace(string(out))
	known := knownVariables()
	var all []string
	for _, source := range []struct{ file, structure, prefix string }{
		{"cluster_config.go", "configJSON", "CLUSTER_"},
		{"config/identity.go", "identityJSON", "CLUSTER_"},
		{"api/common/config.go", "jsonConfig", "CLUSTER_RESTAPI_"},
		{"api/ipfsproxy/config.go", "jsonConfig", "CLUSTER_IPFSPROXY_"},
		{"ipfsconn/ipfshttp/config.go", "jsonConfig", "CLUSTER_IPFSHTTP_"},
		{"pintracker/stateless/config.go", "jsonConfig", "CLUSTER_STATELESS_"},
		{"monitor/pubsubmon/config.go", "jsonConfig", "CLUSTER_PUBSUBMON_"},
		{"allocator/balanced/config.go", "jsonConfig", "CLUSTER_BALANCED_"},
		{"informer/disk/config.go", "jsonConfig", "CLUSTER_DISK_"},
		{"informer/tags/config.go", "jsonConfig", "CLUSTER_TAGS_"},
		{"informer/pinqueue/config.go", "jsonConfig", "CLUSTER_PINQUEUE_"},
		{"observations/config.go", "jsonMetricsConfig", "CLUSTER_METRICS_"},
		{"observations/config.go", "jsonTracingConfig", "CLUSTER_TRACING_"},
		{"consensus/crdt/config.go", "jsonConfig", "CLUSTER_CRDT_"},
		{"consensus/raft/config.go", "jsonConfig", "CLUSTER_RAFT_"},
		{"datastore/pebble/config.go", "jsonConfig", "CLUSTER_PEBBLE_"},
		{"datastore/badger3/config.go", "jsonConfig", "CLUSTER_BADGER3_"},
		{"datastore/badger/config.go", "jsonConfig", "CLUSTER_BADGER_"},
		{"datastore/leveldb/config.go", "jsonConfig", "CLUSTER_LEVELDB_"},
	} {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, source.file), nil, 0)
		noError(t, err)
		names := structVariables(file, source.structure, source.prefix)
		if len(names) == 0 {
			t.Errorf("%s has no %s", source.file, source.structure)
		}
		all = append(all, names...)
	}
	for _, name := range all {
		if !slices.Contains(known, name) {
			t.Errorf("%s is not known", name)
		}
	}
	for _, name := range known {
		ours := strings.HasPrefix(name, "CLUSTER_PINSVCAPI_") || strings.HasPrefix(name, "CLUSTER_MANAGED_") || strings.HasSuffix(name, "_FILE")
		if !ours && !slices.Contains(all, name) {
			t.Errorf("%s is known and upstream does not read it", name)
		}
	}
}

// structVariables are the variables of a struct and of the structs in it that
// the same file declares.
func structVariables(file *ast.File, structure, prefix string) []string {
	fields := declared(file, structure)
	if fields == nil {
		return nil
	}
	var names []string
	for _, field := range fields.List {
		if field.Tag != nil && strings.Contains(field.Tag.Value, `json:"-"`) {
			continue // Not a key, and of a type that no variable can hold.
		}
		typ := field.Type
		if pointer, ok := typ.(*ast.StarExpr); ok {
			typ = pointer.X
		}
		for _, name := range field.Names {
			variable := prefix + strings.ToUpper(name.Name)
			if local, ok := typ.(*ast.Ident); ok && declared(file, local.Name) != nil {
				names = append(names, structVariables(file, local.Name, variable+"_")...)
				continue
			}
			names = append(names, variable)
		}
	}
	return names
}

func declared(file *ast.File, name string) *ast.FieldList {
	var fields *ast.FieldList
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.Name == name {
			if structure, ok := spec.Type.(*ast.StructType); ok {
				fields = structure.Fields
			}
		}
		return fields == nil
	})
	return fields
}
