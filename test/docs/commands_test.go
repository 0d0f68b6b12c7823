package docs

import (
	"context"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// manual is what --help says of the program or of one of its commands.
type manual struct {
	commands map[string]bool
	// flags say whether they take a value.
	flags map[string]bool
}

// manuals asks the program for help, once for each command.
type manuals struct {
	t     *testing.T
	asked map[string]manual
}

var (
	helpSection = regexp.MustCompile(`(?ms)^(COMMANDS|OPTIONS|GLOBAL OPTIONS):\n(.*?)(?:\n\n|\n   \n|\z)`)
	helpName    = regexp.MustCompile(`(?m)^   ([a-z][a-z-]*)(?:, [a-z]+)?(?: {2,}|$)`)
	helpFlag    = regexp.MustCompile(`(?m)^   (--?[a-z-]+)( [A-Za-z]+)?(?:, (--?[a-z-]+)(?: [A-Za-z]+)?)?(?: {2,}|$)`)
)

func (m *manuals) of(command ...string) manual {
	m.t.Helper()
	key := strings.Join(command, " ")
	if known, ok := m.asked[key]; ok {
		return known
	}
	text := help(m.t, command...)
	page := manual{map[string]bool{}, map[string]bool{"--help": false, "-h": false}}
	for _, section := range helpSection.FindAllStringSubmatch(text, -1) {
		if section[1] == "COMMANDS" {
			for _, match := range helpName.FindAllStringSubmatch(section[2], -1) {
				page.commands[match[1]] = true
			}
			continue
		}
		for _, match := range helpFlag.FindAllStringSubmatch(section[2], -1) {
			page.flags[match[1]] = match[2] != ""
			if match[3] != "" {
				page.flags[match[3]] = match[2] != ""
			}
		}
	}
	m.asked[key] = page
	return page
}

func help(t *testing.T, command ...string) string {
	t.Helper()
	program := harness.Service(t) // May build it, which is not in the time below.
	ctx, cancel := context.WithTimeout(t.Context(), harness.CommandTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, append(command, "--help")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s --help: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

// check follows the words after the program's name and returns what is wrong
// with them, or "".
func (m *manuals) check(words []string) string {
	var command []string
	page := m.of()
	for i := 0; i < len(words); i++ {
		word := strings.Trim(words[i], `'"`)
		name, _, assigned := strings.Cut(word, "=")
		takesValue, isFlag := page.flags[name]
		switch {
		case strings.HasPrefix(word, "-") && !isFlag:
			return "no flag " + name
		case isFlag:
			if takesValue && !assigned {
				i++
			}
		case page.commands[word]:
			if word == "ipfs" {
				return "" // All that follows is Kubo's.
			}
			command = append(command, word)
			page = m.of(command...)
		case len(page.commands) > 0:
			return "no command " + word
		}
	}
	return ""
}

// invocation finds the words after the program's name, up to the end of the
// shell's command.
var invocation = regexp.MustCompile(`(?:^|[ "'(/=$])ipfs-cluster-pinsvc((?: [^ |;&>)"#]+)+)`)

func TestCommands_Exist(t *testing.T) {
	m := &manuals{t, map[string]manual{}}
	top := m.of()
	seen := make(map[string]bool)
	report := func(path, piece string, words []string) {
		for _, word := range words {
			seen[word] = true
		}
		if fault := m.check(words); fault != "" {
			t.Errorf("%s: %q: %s", path, piece, fault)
		}
	}
	for path, doc := range documents(t) {
		for _, piece := range doc.code() {
			for _, match := range invocation.FindAllStringSubmatch(piece, -1) {
				report(path, piece, strings.Fields(match[1]))
			}
		}
		for _, span := range doc.spans {
			words := strings.Fields(span)
			if len(words) == 0 {
				continue
			}
			switch {
			case words[0] == "ipfs": // Kubo's.
			case top.commands[words[0]]:
				report(path, span, words)
			case strings.HasPrefix(words[0], "--") && !othersFlag(words[0]) && !m.anyHas(words[0]):
				t.Errorf("%s: no command has the flag %s", path, words[0])
			}
		}
	}
	for command := range top.commands {
		if !seen[command] && command != "help" {
			t.Errorf("no document names the command %s", command)
		}
	}
}

// othersFlag tells whether a flag is one of Kubo's or curl's that the documents
// speak of.
func othersFlag(flag string) bool {
	name, _, _ := strings.Cut(flag, "=")
	return slices.Contains([]string{"--background", "--status", "--cid", "--name", "--json"}, name)
}

// anyHas tells whether the program or any of its commands has the flag.
func (m *manuals) anyHas(flag string) bool {
	pages := []manual{m.of()}
	for command := range m.of().commands {
		if command != "ipfs" && command != "help" {
			pages = append(pages, m.of(command))
		}
	}
	return slices.ContainsFunc(pages, func(page manual) bool {
		_, ok := page.flags[flag]
		return ok
	})
}

func TestCommands_WrongOnesAreNoticed(t *testing.T) {
	m := &manuals{t, map[string]manual{}}
	for line, good := range map[string]bool{
		"--config data daemon --init --user me":            true,
		"-c data state import --force pins.json":           true,
		"ipfs --anything goes":                             true,
		"--loglevel info,pinsvcapilog:warn daemon --stats": true,
		"demon":                   false,
		"daemon --initialise":     false,
		"--configuration x init":  false,
		"state rescue":            false,
		"config check --verbose":  false,
		"--config check":          true, // Odd, but check is the folder.
		"token --user=me --force": false,
	} {
		if fault := m.check(strings.Fields(line)); (fault == "") != good {
			t.Errorf("%q: %q", line, fault)
		}
	}
}
