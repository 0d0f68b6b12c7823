package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What scripts see of a command line: the exit code, and which of the two
// outputs has what.
func TestProgram_ExitCodes(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	for _, c := range []struct {
		args        string
		code        int
		out, errOut string
	}{
		{"", 1, "USAGE", ""},
		{"bogus", 1, "USAGE", "no such command: bogus"},
		{"--bogus", 1, "", "-bogus"},
		{"daemon --bogus", 1, "", "-bogus"},
		{"init --bogus", 1, "", "-bogus"},
		{"help", 0, "COMMANDS", ""},
		{"--help", 0, "COMMANDS", ""},
		{"daemon --help", 0, "--bootstrap", ""},
		{"daemon -h", 0, "--bootstrap", ""},
		{"version", 0, "1.1.6\n", ""},
		{"--version", 0, "version 1.1.6\n", ""},
		{"-v", 0, "version 1.1.6\n", ""},
		{"version --all", 0, "ipfs-cluster 1.1.6\n", ""},
		{"-c nowhere version", 0, "1.1.6\n", ""},
		{"--loglevel info,cluster:debug version", 0, "1.1.6\n", ""},
		{"-l a:b:c version", 1, "", "a:b:c"},
		{"-l loud version", 0, "1.1.6\n", `"loud" is no level`},
		{"-l nobody:info version", 0, "1.1.6\n", ""},
		{"-d version", 0, "1.1.6\n", ""},
		{"state", 0, "export", ""},
		{"state crdt", 0, "mark-dirty", ""},
		{"state crdt bogus", 3, "", "No help topic"},
		{"state export", 1, "", "there is none at"},
		{"state import -f", 1, "", "there is none at"},
		{"state cleanup -f", 1, "", "there is none at"},
		{"state crdt info", 1, "", "there is none at"},
		{"daemon", 1, "", "init makes one"},
		{"daemon --leave --upgrade --stats --tracing --no-trust --help", 0, "", ""},
		{"daemon -x -u -j /ip4/1.2.3.4/tcp/1 -h", 0, "", ""},
		{"daemon --bootstrap here", 1, "", `"here"`},
		{"daemon --user alice", 1, "", "--user is for --init"},
		{"daemon --profile private", 1, "", "--profile is for --init"},
		{"daemon --init --consensus paxos", 1, "", "'crdt' nor 'raft'"},
		{"init --consensus paxos", 1, "", "'crdt' nor 'raft'"},
		{"init --datastore floppy", 1, "", "'leveldb'"},
		{"init --profile public", 1, "", "'private'"},
		{"init --peers /ip4/1.2.3.4", 1, "", "/ip4/1.2.3.4"},
		{"init --peers nonsense", 1, "", "nonsense"},
		{"init --ipfs localhost:5001", 1, "", "/ip4/127.0.0.1/tcp/5001"},
		{"init --user a:b", 1, "", "colon"},
		{"init --user a --user a", 1, "", "twice"},
		{"init --user a http://127.0.0.1/", 1, "", "--user"},
		{"token", 1, "", "init makes one"},
		{"config check", 1, "", "1 found"},
		{"ipfs id", 1, "", "init makes one"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			r := s.run(strings.Fields(c.args)...)
			if r.code != c.code || !strings.Contains(r.out, c.out) || !strings.Contains(r.errOut, c.errOut) {
				t.Errorf("exit code %d, want %d\nwant on standard output: %q\n%s\nwant on standard error: %q\n%s",
					r.code, c.code, c.out, r.out, c.errOut, r.errOut)
			}
		})
	}
	t.Cleanup(func() {
		if files := glob(t, s.path("*")); len(files) != 0 {
			t.Errorf("commands that failed or only tell something left files: %v", files)
		}
	})
}

// Every command and every flag of ipfs-cluster-service is there, with the
// same short forms, the same arity and the same default.
func TestProgram_HasUpstreamsCommandsAndFlags(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	theirs := upstream(t)
	for _, command := range []string{
		"", "init", "daemon", "state", "state export", "state import", "state cleanup", "version",
		"state crdt", "state crdt info", "state crdt dot", "state crdt mark-dirty", "state crdt mark-clean",
	} {
		t.Run(command, func(t *testing.T) {
			args := append(strings.Fields(command), "--help")
			want := grammar(s.runBinary(theirs, "", args...).out)
			got := grammar(s.must(args...))
			if len(want) == 0 && command != "version" && !strings.HasPrefix(command, "state crdt ") {
				t.Fatal("nothing was read from the help of ipfs-cluster-service")
			}
			for _, item := range want {
				if !slices.Contains(got, item) {
					t.Errorf("ipfs-cluster-service has %q, we have %q", item, got)
				}
			}
		})
	}
}

var (
	helpFlag    = regexp.MustCompile(`(?m)^   (--\S+(?: [a-zA-Z]+)?(?:, --?\S+(?: [a-zA-Z]+)?)*)  `)
	helpCommand = regexp.MustCompile(`(?m)^   +([a-z][a-z-]*(?:, [a-z]+)*)  `)
	helpDefault = regexp.MustCompile(`\(default: "[a-z]+"\)`)
)

// grammar is what a help text says of commands and flags.
func grammar(help string) []string {
	_, help, _ = strings.Cut(strings.ReplaceAll(help, "GLOBAL OPTIONS:", "OPTIONS:"), "USAGE:")
	var items []string
	for line := range strings.Lines(help) {
		if m := helpFlag.FindStringSubmatch(line); m != nil {
			items = append(items, m[1]+" "+helpDefault.FindString(line))
		}
	}
	if _, commands, found := strings.Cut(help, "COMMANDS:"); found {
		commands, _, _ = strings.Cut(commands, "OPTIONS:")
		for _, m := range helpCommand.FindAllStringSubmatch(commands, -1) {
			items = append(items, m[1])
		}
	}
	return items
}

func TestProgram_FlagsMayFollowArguments(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init", "http://127.0.0.1:1/service.json", "--peers", peerAddress, "--force")
	if got := s.readConfig().at("source"); got != "http://127.0.0.1:1/service.json" {
		t.Errorf("source is %v", got)
	}
	if got := readText(t, s.path("peerstore")); got != peerAddress+"\n" {
		t.Errorf("the peerstore has %q", got)
	}
}

func TestProgram_Folder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, folder string
		env          []string
		args         []string
	}{
		{"default", defaultFolder, nil, nil},
		{"flag", "a", nil, []string{"--config", "a"}},
		{"short flag", "a", nil, []string{"-c", "a"}},
		{"environment", "b", []string{"IPFS_CLUSTER_PATH=b"}, nil},
		{"flag before environment", "a", []string{"IPFS_CLUSTER_PATH=b"}, []string{"-c", "a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t, c.env...)
			s.must(append(c.args, "init")...)
			if files := glob(t, s.home+"/"+c.folder+"/*.json"); len(files) != 2 {
				t.Errorf("in %s there is %v", c.folder, files)
			}
		})
	}
}
