package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// The first run makes everything, the second one uses it. The printed commands
// work as they stand, and neither run prints the password.
func TestDaemon_Init(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	command := []string{"daemon", "--init", "--profile", "private", "--user", "alice", "--randomports", "--ipfs", ipfsNode(t)}

	first := s.start(command...)
	first.await(first.out, `Ctrl-C stops the service`)
	password := s.password("alice")
	file := first.await(first.out, `The password of alice is in (\S+) \(api\.pinsvcapi\.basic_auth_credentials\)\.\n`)
	if file[1] != s.path("service.json") {
		t.Errorf("the password is said to be in %s", file[1])
	}
	endpoint := first.await(first.out, `Pinning Service API is at (http://127\.0\.0\.1:\d+)\n`)[1]
	curl := first.await(first.out, `\n  curl -X POST -u (\S+) (\S+)\n`)
	if token := requestToken(t, curl[2], curl[1], password); !works(t, endpoint, token) {
		t.Error("the token that the printed curl line gets is refused")
	}
	command2 := first.await(first.out, `\n  (\S+ token --user alice)\n`)
	if token := s.echo("$(" + command2[1] + ")"); !works(t, endpoint, token) {
		t.Error("the token that the printed command prints is refused")
	}
	add := first.await(first.out, `\n  ipfs pin remote service add alice (\S+) ("\$\(.*\)")\n`)
	if add[1] != endpoint {
		t.Errorf("the service to add is %s, the endpoint %s", add[1], endpoint)
	}
	if token := s.echo(add[2]); !works(t, endpoint, token) {
		t.Error("the token of the printed line is refused")
	}
	first.await(first.out, `\n  ipfs pin remote add --service=alice --name=hello `+exampleCID+`\n`)
	if strings.Contains(first.out.String()+first.errOut.String(), password) {
		t.Error("the first run prints the password")
	}
	first.end(syscall.SIGTERM)
	before := readText(t, s.path("service.json"))

	second := s.start(command...)
	second.await(second.out, `curl -X POST -u alice http://`)
	second.await(second.out, `Ctrl-C stops the service`)
	if strings.Contains(second.out.String()+second.errOut.String(), password) {
		t.Error("the second run prints the password")
	}
	if !strings.Contains(second.out.String(), s.path("service.json")) {
		t.Error("the second run does not say where the password is")
	}
	second.end(syscall.SIGINT)
	if readText(t, s.path("service.json")) != before {
		t.Error("the second run changed the configuration")
	}
}

// A peer that waits says for what, again and again, and can be stopped.
func TestDaemon_ReportsWhatItWaitsFor(t *testing.T) {
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

// Users are reloaded without a restart: when the file changes and on SIGUSR1. A
// broken file keeps the users, and is logged once when it changes and again at each
// signal.
func TestDaemon_Reload(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init", "--user", "alice", "--profile", "private", "--randomports", "--ipfs", ipfsNode(t))
	before := s.password("alice")
	r := s.start("-l", "error", "daemon")
	endpoint := r.await(r.out, `Pinning Service API is at (http://\S+)\n`)[1]
	accepted := func(password string) bool {
		request, err := http.NewRequest(http.MethodGet, endpoint+"/pins", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth("alice", password)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	}
	set := func(password string) {
		s.edit(func(config object) {
			config.section("api", "pinsvcapi")["basic_auth_credentials"] = object{"alice": password}
		})
	}
	if !accepted(before) {
		t.Fatal("the first password is refused")
	}

	set("a changed password")
	await.True(t, "the other password", func() bool { return accepted("a changed password") && !accepted(before) })

	valid := readText(t, s.path("service.json"))
	writeText(t, s.path("service.json"), strings.Replace(valid, "a changed password", "another", 1)+"}")
	r.await(r.errOut, `(?m)reloading api\.pinsvcapi failed.*service\.json, line`)
	if err := r.cmd.Process.Signal(reloadSignals()[0]); err != nil {
		t.Fatal(err)
	}
	r.await(r.errOut, `(?m)^error reloading: .*service\.json, line`)
	if !accepted("a changed password") {
		t.Error("a broken file took the users away")
	}
	if n := strings.Count(r.errOut.String(), "reloading api.pinsvcapi failed"); n != 2 {
		t.Errorf("the broken file is logged %d times, want one for the change and one for the signal:\n%s", n, r.errOut)
	}

	writeText(t, s.path("service.json"), strings.Replace(valid, "a changed password", "the last password", 1))
	if err := r.cmd.Process.Signal(reloadSignals()[0]); err != nil {
		t.Fatal(err)
	}
	r.await(r.errOut, `(?m)^reloaded users, certificate and access log\.$`)
	if accepted("a changed password") || !accepted("the last password") {
		t.Error("the password is not in effect after SIGUSR1")
	}
	r.end(syscall.SIGHUP)
}

// The cluster's secret and the users can come from files, at --init and at the
// start, and a variable that nothing reads is named.
func TestDaemon_SecretFiles(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	secret, users := filepath.Join(s.home, "secret"), filepath.Join(s.home, "users")
	const hex = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	for path, content := range map[string]string{secret: hex + "\n", users: "alice:from a file\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.env = append(s.env, "CLUSTER_SECRET_FILE="+secret, "CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS_FILE="+users, "CLUSTER_SECRTE=x")
	r := s.start("daemon", "--init", "--profile", "private", "--user", "alice", "--randomports", "--ipfs", ipfsNode(t))
	endpoint := r.await(r.out, `Pinning Service API is at (http://\S+)\n`)[1]
	if got := s.readConfig().at("cluster", "secret"); got != hex {
		t.Errorf("the secret is %v", got)
	}
	if token := requestToken(t, endpoint+"/token", "alice", "from a file"); !works(t, endpoint, token) {
		t.Error("the user of the file is refused")
	}
	r.await(r.errOut, `CLUSTER_SECRTE is not known and has no effect; is it CLUSTER_SECRET\?`)

	if err := os.WriteFile(users, []byte("alice:changed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.await(r.errOut, `reloaded users, certificate and access log of api\.pinsvcapi`)
	requestToken(t, endpoint+"/token", "alice", "changed")
	r.end(syscall.SIGTERM)
}

// A first run that is stopped before it is ready has made the user.
func TestDaemon_StoppedBeforeItIsReady(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	r := s.start("daemon", "--init", "--profile", "private", "--randomports", "--user", "alice", "--ipfs", "/ip4/127.0.0.1/tcp/1")
	r.await(r.errOut, `waiting for IPFS`)
	r.end(syscall.SIGINT)
	if strings.Contains(r.out.String()+r.errOut.String(), s.password("alice")) {
		t.Errorf("the password is printed:\n%s%s", r.out, r.errOut)
	}
	s.must("token", "--user", "alice")
}

func TestWatchSignals(t *testing.T) {
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
