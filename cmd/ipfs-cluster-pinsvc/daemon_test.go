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
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	clustertest "github.com/ipfs-cluster/ipfs-cluster/test"
	logging "github.com/ipfs/go-log/v2"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
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

// The first run makes everything and shows the password; the second one goes
// on with it and does not. What is printed works as it stands.
func TestDaemonInit(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	command := []string{"daemon", "--init", "--profile", "private", "--user", "alice", "--randomports", "--ipfs", ipfsNode(t)}

	first := s.start(command...)
	password := first.await(first.out, `User alice has the password (\S+)\n`)[1]
	first.await(first.out, `Ctrl-C stops the service`)
	if got := s.readConfig().at("api", "pinsvcapi", "basic_auth_credentials", "alice"); got != password {
		t.Errorf("the password of the file is %v, shown was %s", got, password)
	}
	endpoint := first.await(first.out, `Pinning Service API is at (http://127\.0\.0\.1:\d+)\n`)[1]
	curl := first.await(first.out, `\n  curl -X POST -u (\S+):(\S+) (\S+)\n`)
	if token := askToken(t, curl[3], curl[1], curl[2]); !works(t, endpoint, token) {
		t.Error("the token that the printed line gets is refused")
	}
	add := first.await(first.out, `\n  ipfs pin remote service add alice (\S+) ("\$\(.*\)")\n`)
	if add[1] != endpoint {
		t.Errorf("the service to add is %s, the endpoint %s", add[1], endpoint)
	}
	if token := s.echo(add[2]); !works(t, endpoint, token) {
		t.Error("the token of the printed line is refused")
	}
	first.await(first.out, `\n  ipfs pin remote add --service=alice --name=hello `+exampleCID+`\n`)
	if strings.Contains(first.errOut.String(), password) {
		t.Error("the password is in the log")
	}
	first.end(syscall.SIGTERM)
	before := readText(t, s.path("service.json"))

	second := s.start(command...)
	second.await(second.out, `curl -X POST -u alice http://`)
	second.await(second.out, `Ctrl-C stops the service`)
	if strings.Contains(second.out.String()+second.errOut.String(), password) {
		t.Error("the password is shown again")
	}
	if !strings.Contains(second.out.String(), s.path("service.json")) {
		t.Error("the second run does not say where the password is")
	}
	second.end(syscall.SIGINT)
	if readText(t, s.path("service.json")) != before {
		t.Error("the second run changed the configuration")
	}
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

func askToken(t *testing.T, url, user, password string) string {
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
	var answer struct{ Token string }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v, %v", url, response.Status, err)
	}
	return answer.Token
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

// A peer that waits says for what, again and again, and can be stopped.
func TestDaemonSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init", "--profile", "private", "--randomports", "--ipfs", "/ip4/127.0.0.1/tcp/1")
	r := s.start("-l", "error", "daemon")
	r.await(r.errOut, `waiting for IPFS: .*/ip4/127\.0\.0\.1/tcp/1`)
	r.await(r.errOut, `waiting for IPFS: .*\(\ds\)\n(?s:.*)waiting for IPFS: .*\(\ds\)\n`)
	if r.out.String() != "" {
		t.Errorf("not ready, but says %s", r.out)
	}
	if other := s.run("daemon"); other.code != 1 || !strings.Contains(other.errOut, "lock") {
		t.Errorf("a second daemon: exit code %d, %s", other.code, other.errOut)
	}
	r.end(syscall.SIGHUP)
	s.must("state", "export") // The lock is gone.
}

// A first run that does not get as far as being ready shows the password, too.
func TestDaemonStoppedBeforeItIsReady(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	r := s.start("daemon", "--init", "--profile", "private", "--randomports", "--user", "alice", "--ipfs", "/ip4/127.0.0.1/tcp/1")
	r.await(r.errOut, `waiting for IPFS`)
	r.end(syscall.SIGINT)
	want := fmt.Sprintf("User alice has the password %s\n",
		s.readConfig().at("api", "pinsvcapi", "basic_auth_credentials", "alice"))
	if got := r.out.String(); strings.Count(got, want) != 1 {
		t.Errorf("want %q once in\n%s", want, got)
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	type happening string
	const (
		stop, hurry happening = "stop", "hurry"
		exit        happening = "exit 1"
	)
	for _, c := range []struct {
		name    string
		signals int
		wait    time.Duration
		want    []happening
	}{
		{"none", 0, time.Hour, nil},
		{"one stops", 1, time.Hour, []happening{stop}},
		{"two hurry", 2, forceLimit - time.Second, []happening{stop, hurry}},
		{"two force when hurrying takes too long", 2, forceLimit + time.Second, []happening{stop, hurry, exit}},
		{"three force", 3, 0, []happening{stop, hurry, exit}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				signals := make(chan os.Signal)
				ended := make(chan struct{})
				var happened []happening
				d := &daemonRun{
					program: newProgram(strings.NewReader(""), newBuffer(), newBuffer()),
					signals: signals,
					exit:    func(code int) { happened = append(happened, happening(fmt.Sprintf("exit %d", code))) },
				}
				go d.watchSignals(ended,
					func() { happened = append(happened, stop) },
					func() { happened = append(happened, hurry) })
				for range c.signals {
					signals <- syscall.SIGTERM
				}
				time.Sleep(c.wait) // Within synctest, no time passes.
				synctest.Wait()
				if fmt.Sprint(happened) != fmt.Sprint(c.want) {
					t.Errorf("want %v, got %v", c.want, happened)
				}
				close(ended)
			})
		})
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	p := &progress{program: newProgram(strings.NewReader(""), &said, &said)}
	const step = 1500 * time.Millisecond
	var before int
	for elapsed := time.Duration(0); elapsed < time.Hour; elapsed += step {
		p.tell(peer.Event{Stage: peer.StageIPFS, Detail: "no answer", Elapsed: elapsed})
		lines := strings.Count(said.String(), "\n")
		if elapsed <= patience && lines != before+1 {
			t.Fatalf("silent after %s", elapsed)
		}
		before = lines
	}
	if want := int(patience/step) + int(time.Hour/repeatInterval); before > want+1 || before < want-2 {
		t.Errorf("%d lines in an hour, want about %d", before, want)
	}
	// Something new is told at once.
	p.tell(peer.Event{Stage: peer.StageIPFS, Detail: "another", Elapsed: time.Hour + time.Second})
	p.tell(peer.Event{Stage: peer.StageRequests})
	p.tell(peer.Event{Stage: peer.StageReady})
	if got := strings.Count(said.String(), "\n") - before; got != 2 {
		t.Errorf("%d lines for what is new, want 2:\n%s", got, said.String())
	}
}

func TestProgressDoesNotRepeatTheLog(t *testing.T) {
	var said bytes.Buffer
	p := &progress{program: newProgram(strings.NewReader(""), &said, &said), logged: true}
	p.tell(peer.Event{Stage: peer.StageStore})
	p.tell(peer.Event{Stage: peer.StageStore, Elapsed: 2 * time.Second})
	if got, want := said.String(), "opening the datastore (2s)\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	logging.Logger("peer") // There once the package peer is linked, as above.
	if err := logging.SetLogLevel("peer", "info"); err != nil {
		t.Fatal(err)
	}
	if !newProgress(p.program).logged {
		t.Error("the log of the peer is on and not noticed")
	}
	if err := logging.SetLogLevel("peer", "error"); err != nil {
		t.Fatal(err)
	}
	if newProgress(p.program).logged {
		t.Error("the log of the peer is off and not noticed")
	}
}
