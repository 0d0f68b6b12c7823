package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	logging "github.com/ipfs/go-log/v2"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// scriptedReload is a reloader that counts, and fails as a test sets it.
type scriptedReload struct {
	*reloader
	mu      sync.Mutex
	applied int
	err     error
}

func newScriptedReload(paths watchedPaths, cfg func() *config.Config) *scriptedReload {
	s := &scriptedReload{}
	s.reloader = &reloader{
		load: func(context.Context) (*config.Config, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return cfg(), s.err
		},
		apply: func(*config.Config) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.applied++
			return nil
		},
		initial: paths.snapshot(),
		paths:   paths,
	}
	return s
}

func (s *scriptedReload) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *scriptedReload) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied
}

func (s *scriptedReload) lastFailure() string {
	s.reloader.mu.Lock()
	defer s.reloader.mu.Unlock()
	return s.failure
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	noError(t, os.WriteFile(path, []byte(content), 0o600))
}

// watching runs a reloader on a folder with service.json, a secret by way of
// links as Kubernetes has them, and an access log.
func watching(t *testing.T) (s *scriptedReload, dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, version := range []string{"v1", "v2"} {
		noError(t, os.Mkdir(filepath.Join(dir, version), 0o700))
		writeFile(t, filepath.Join(dir, version, "users"), "same length")
	}
	noError(t, os.Symlink("v1", filepath.Join(dir, "..data")))
	noError(t, os.Symlink(filepath.Join("..data", "users"), filepath.Join(dir, "users")))
	writeFile(t, filepath.Join(dir, ConfigFile), "{}")
	writeFile(t, filepath.Join(dir, "access.log"), "")
	t.Setenv("CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS_FILE", filepath.Join(dir, "users"))
	cfg := func() *config.Config {
		cfg := config.NewConfig()
		cfg.BaseDir, cfg.HTTPLogFile = dir, "access.log"
		return cfg
	}
	s = newScriptedReload(watchedPathsOf(FilesIn(dir), cfg()), cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.watch(ctx, 5*time.Millisecond)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return s, dir
}

// reloads waits for the number of reloads that were applied so far.
func (s *scriptedReload) reloads(t *testing.T, want int) {
	t.Helper()
	await.Success(t, fmt.Sprintf("%d reloads", want), func() error {
		if got := s.count(); got != want {
			return fmt.Errorf("%d reloads", got)
		}
		return nil
	})
}

func TestReloader_WatchesFiles(t *testing.T) {
	s, dir := watching(t)
	writeFile(t, filepath.Join(dir, ConfigFile), `{"a": 1}`)
	s.reloads(t, 1)

	// Kubernetes replaces a link to the folder of a secret.
	noError(t, os.Symlink("v2", filepath.Join(dir, "..new")))
	noError(t, os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")))
	s.reloads(t, 2)

	// The log changes with each request and is opened again once it was moved.
	writeFile(t, filepath.Join(dir, "access.log"), "a line\n")
	noError(t, os.Rename(filepath.Join(dir, "access.log"), filepath.Join(dir, "access.log.1")))
	s.reloads(t, 3)
}

// A broken file is reported once and changes nothing; the mended one is applied.
func TestReloader_BrokenFile(t *testing.T) {
	s, dir := watching(t)
	s.fail(errors.New("service.json, line 1: not JSON"))
	writeFile(t, filepath.Join(dir, ConfigFile), `{"a": `)
	await.Success(t, "a failure", func() error {
		if s.lastFailure() == "" {
			return errors.New("no failure yet")
		}
		return nil
	})
	if s.count() != 0 {
		t.Error("a broken file was applied")
	}
	s.fail(nil)
	writeFile(t, filepath.Join(dir, ConfigFile), `{"a": 22}`)
	s.reloads(t, 1)
	await.Success(t, "no failure", func() error {
		if text := s.lastFailure(); text != "" {
			return errors.New(text)
		}
		return nil
	})
}

// A peer applies the users of a changed service.json, keeps them when the next
// version is broken, and refuses a file that the next start would refuse.
func TestPeer_Reload(t *testing.T) {
	files := upstreamFiles(t, "crdt", "pebble", externalNode(t, rpcOfID(t, firstID)),
		with("api", "pinsvcapi", map[string]any{
			"http_listen_multiaddress": "/ip4/127.0.0.1/tcp/0", "basic_auth_credentials": map[string]string{"me": "first password"},
		}))
	p, _ := newPeer(t, files)
	noError(t, p.Start(t.Context()))
	await.Closed(t, "readiness", p.Ready())
	accepted := func(password string) bool {
		req, err := http.NewRequest(http.MethodGet, "http://"+p.PinsvcAddrs()[0]+"/pins", nil)
		noError(t, err)
		req.SetBasicAuth("me", password)
		resp, err := http.DefaultClient.Do(req)
		noError(t, err)
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	change := func(section map[string]any) {
		editFile(t, files.Config, func(sections map[string]map[string]any) {
			for key, value := range section {
				sections["api"]["pinsvcapi"].(map[string]any)[key] = value
			}
		})
	}
	users := func(password string) map[string]any {
		return map[string]any{"basic_auth_credentials": map[string]string{"me": password}}
	}
	if !accepted("first password") {
		t.Fatal("the password of the start is refused")
	}
	change(users("second password"))
	noError(t, p.Reload())
	if accepted("first password") || !accepted("second password") {
		t.Error("the changed password is not in effect")
	}

	broken := users("third password")
	broken["max_pin_attempts"] = -1
	change(broken)
	if err := p.Reload(); err == nil || !strings.Contains(err.Error(), files.Config) || !strings.Contains(err.Error(), "max_pin_attempts") {
		t.Errorf("a broken section gives %v", err)
	}
	if !accepted("second password") {
		t.Error("a broken file took the users away")
	}
}

// A configuration may be read from a URL, for which upstream waits without a limit.
func TestLoadPinsvcapi_EndsWithItsContext(t *testing.T) {
	released := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-released }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(released) })
	dir := t.TempDir()
	files := FilesIn(dir)
	noError(t, os.WriteFile(files.Config, []byte(`{"source": "`+server.URL+`"}`), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	p := &Peer{cfg: NewConfiguration(files, "", "")}
	if _, err := p.loadPinsvcapi(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), files.Config) {
		t.Errorf("got %v", err)
	}
}

// A failure of changed files is logged once. A reload that was requested logs its
// result each time, also a failure that was logged before.
func TestReloader_LogsEachRequest(t *testing.T) {
	pipe := logging.NewPipeReader(logging.PipeFormat(logging.PlaintextOutput))
	lines := make(chan string, 64)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for scanner := bufio.NewScanner(pipe); scanner.Scan(); {
			if strings.Contains(scanner.Text(), "reloading api.pinsvcapi failed") {
				lines <- scanner.Text()
			}
		}
	}()
	s := newScriptedReload(watchedPaths{config: filepath.Join(t.TempDir(), ConfigFile)}, config.NewConfig)
	s.fail(errors.New("service.json, line 1: not JSON"))
	for _, why := range []trigger{onChange, onChange, onRequest, onRequest, onChange} {
		if s.reload(t.Context(), why) == nil {
			t.Error("a broken file was loaded")
		}
	}
	noError(t, pipe.Close())
	await.Closed(t, "the end of the log", read)
	if len(lines) != 3 {
		t.Errorf("%d lines, want those of the first change and of both requests", len(lines))
	}
}
