package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// deadline bounds failures; no test waits for it to pass.
const deadline = time.Minute

// asProgram makes the test binary be the program.
const asProgram = "PINSVC_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	code := m.Run()
	if upstreamFolder != "" {
		_ = os.RemoveAll(upstreamFolder)
	}
	os.Exit(code)
}

// shell runs programs as somebody with a home folder of their own would.
type shell struct {
	t    *testing.T
	home string
	env  []string
}

func newShell(t *testing.T, env ...string) *shell {
	t.Helper()
	home := t.TempDir()
	s := &shell{t: t, home: home}
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "CLUSTER_") && !strings.HasPrefix(name, "IPFS") && !strings.HasPrefix(name, "GOLOG") {
			s.env = append(s.env, pair)
		}
	}
	s.env = append(s.env, "HOME="+home, asProgram+"=yes",
		"GORACE=atexit_sleep_ms=0") // Under the race detector a program else takes a second to end.
	s.env = append(s.env, env...)
	return s
}

// path is a file in the default folder.
func (s *shell) path(name string) string { return filepath.Join(s.home, defaultFolder, name) }

type result struct {
	code        int
	out, errOut string
}

// command prepares our program; upstream's is run with binary.
func (s *shell) command(ctx context.Context, binary, stdin string, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errOut bytes.Buffer
	cmd.Env, cmd.Dir = s.env, s.home
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	return cmd, &out, &errOut
}

func (s *shell) runBinary(binary, stdin string, args ...string) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	cmd, out, errOut := s.command(ctx, binary, stdin, args...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("running %v: %v", args, err)
	}
	return result{code: cmd.ProcessState.ExitCode(), out: out.String(), errOut: errOut.String()}
}

// run runs our program with nothing on standard input.
func (s *shell) run(args ...string) result { s.t.Helper(); return s.answer("", args...) }

// answer runs our program with text on standard input.
func (s *shell) answer(stdin string, args ...string) result {
	s.t.Helper()
	return s.runBinary(self(s.t), stdin, args...)
}

// must runs our program, which must succeed, and returns its output.
func (s *shell) must(args ...string) string {
	s.t.Helper()
	r := s.run(args...)
	if r.code != 0 {
		s.t.Fatalf("%v: exit code %d\n%s%s", args, r.code, r.out, r.errOut)
	}
	return r.out
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// upstreamFolder is set by the one build of buildUpstream, before TestMain
// removes it.
var upstreamFolder string

var buildUpstream = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ipfs-cluster-service")
	if err != nil {
		return "", err
	}
	upstreamFolder = dir
	path := filepath.Join(dir, "ipfs-cluster-service")
	const program = "github.com/ipfs-cluster/ipfs-cluster/cmd/ipfs-cluster-service"
	if out, err := exec.Command("go", "build", "-o", path, program).CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// upstream is ipfs-cluster-service of the release that we depend on.
func upstream(t *testing.T) string {
	t.Helper()
	path, err := buildUpstream()
	if err != nil {
		t.Fatalf("building ipfs-cluster-service: %v", err)
	}
	return path
}

// readConfig is service.json of the default folder.
func (s *shell) readConfig() object { s.t.Helper(); return readObject(s.t, s.path("service.json")) }

// edit changes service.json of the default folder.
func (s *shell) edit(change func(object)) {
	s.t.Helper()
	config := s.readConfig()
	change(config)
	content, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.path("service.json"), content, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

type object map[string]any

func readObject(t *testing.T, path string) object {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var o object
	if err := json.Unmarshal(content, &o); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return o
}

// at is a member however deep, nil when there is none.
func (o object) at(path ...string) any {
	var value any = map[string]any(o)
	for _, name := range path {
		inner, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = inner[name]
	}
	return value
}

// section is an object that must be there.
func (o object) section(path ...string) object {
	inner, ok := o.at(path...).(map[string]any)
	if !ok {
		panic("no object at " + strings.Join(path, "."))
	}
	return inner
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func readText(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func writeText(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
