package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	clustertest "github.com/ipfs-cluster/ipfs-cluster/test"
)

// buffer is one that a process writes while a test reads it.
type buffer struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{}
}

func newBuffer() *buffer { return &buffer{written: make(chan struct{}, 1)} }

func (b *buffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.written <- struct{}{}:
	default:
	}
	return b.text.Write(data)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// running is a daemon.
type running struct {
	t           *testing.T
	cmd         *exec.Cmd
	out, errOut *buffer
	ended       chan struct{}
}

func (s *shell) start(args ...string) *running {
	s.t.Helper()
	cmd, _, _ := s.command(context.Background(), self(s.t), "", args...)
	r := &running{t: s.t, cmd: cmd, out: newBuffer(), errOut: newBuffer(), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = r.out, r.errOut
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		_ = cmd.Wait() // The test looks at the exit code.
	}()
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-r.ended
	})
	return r
}

// await returns what matches once it was written to the buffer.
func (r *running) await(b *buffer, pattern string) []string {
	r.t.Helper()
	expression := regexp.MustCompile(pattern)
	limit := time.After(deadline)
	for {
		if m := expression.FindStringSubmatch(b.String()); m != nil {
			return m
		}
		select {
		case <-b.written:
		case <-r.ended:
			if m := expression.FindStringSubmatch(b.String()); m != nil {
				return m
			}
			r.t.Fatalf("ended without %q:\n%s%s", pattern, r.out, r.errOut)
		case <-limit:
			r.t.Fatalf("no %q:\n%s%s", pattern, r.out, r.errOut)
		}
	}
}

// end sends a signal and wants a good end.
func (r *running) end(signal os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(signal); err != nil {
		r.t.Fatal(err)
	}
	select {
	case <-r.ended:
	case <-time.After(deadline):
		r.t.Fatalf("%s did not end it:\n%s", signal, r.errOut)
	}
	if code := r.cmd.ProcessState.ExitCode(); code != 0 || !strings.Contains(r.errOut.String(), "stopped.\n") {
		r.t.Errorf("after %s: exit code %d\n%s", signal, code, r.errOut)
	}
}

// ipfsNode is the RPC of an IPFS node that has nothing behind it but, other
// than the cluster's own stand-in, an address.
func ipfsNode(t *testing.T) string {
	t.Helper()
	node := clustertest.NewIpfsMock(t)
	t.Cleanup(node.Close)
	mux := http.NewServeMux()
	mux.Handle("/", httputil.NewSingleHostReverseProxy(&url.URL{
		Scheme: "http", Host: fmt.Sprintf("%s:%d", node.Addr, node.Port),
	}))
	mux.HandleFunc("/api/v0/id", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"ID": %q, "Addresses": ["/ip4/127.0.0.1/tcp/4001/p2p/%s"]}`, peerID, peerID)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", server.Listener.Addr().(*net.TCPAddr).Port)
}

// echo has a shell evaluate a word of a printed command.
func (s *shell) echo(word string) string {
	s.t.Helper()
	cmd := exec.Command("sh", "-c", "echo "+word)
	cmd.Env, cmd.Dir = s.env, "/"
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("echo %s: %v", word, err)
	}
	return strings.TrimSpace(string(out))
}

// password is the one of a user in service.json.
func (s *shell) password(user string) string {
	s.t.Helper()
	text, ok := s.readConfig().at("api", "pinsvcapi", "basic_auth_credentials", user).(string)
	if !ok || text == "" {
		s.t.Fatalf("user %s has no password", user)
	}
	return text
}

func requestToken(t *testing.T, url, user, password string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(user, password)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var reply struct{ Token string }
	if err := json.NewDecoder(response.Body).Decode(&reply); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v, %v", url, response.Status, err)
	}
	return reply.Token
}

func works(t *testing.T, endpoint, token string) bool {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, endpoint+"/pins", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}
