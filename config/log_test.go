package config

import (
	"bufio"
	"strings"
	"testing"

	logging "github.com/ipfs/go-log/v2"
)

// logged returns what is logged at WARN and above while run runs.
func logged(t *testing.T, run func()) string {
	t.Helper()
	before := logger.Desugar().Level()
	if err := logging.SetLogLevel("pinsvcapi", "warn"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = logging.SetLogLevel("pinsvcapi", before.String()) }()
	reader := logging.NewPipeReader(logging.PipeLevel(logging.LevelWarn))
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(reader); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	go func() {
		run()
		logger.Warn("the end")
	}()
	defer reader.Close()
	var text strings.Builder
	for line := range lines {
		if strings.Contains(line, "the end") {
			break
		}
		text.WriteString(line + "\n")
	}
	return text.String()
}

func TestUnknownKeysAreLoggedByNameWithoutTheirValues(t *testing.T) {
	section := files(t, "good")["unknown_keys"]
	text := logged(t, func() { _ = NewConfig().LoadJSON([]byte(section)) })
	for _, name := range []string{"api.pinsvcapi.read_timout: ", "api.pinsvcapi.basic_auth_credential: ", "api.pinsvcapi.future: "} {
		if strings.Count(text, name) != 1 {
			t.Errorf("%q is not named once in %s", name, text)
		}
	}
	if strings.Contains(text, "s3cr3t") {
		t.Errorf("tells a secret: %s", text)
	}
}

func TestAnOpenServiceIsLogged(t *testing.T) {
	section := files(t, "good")["public_without_users_on_purpose"]
	text := logged(t, func() { _ = NewConfig().LoadJSON([]byte(section)) })
	if !strings.Contains(text, "everyone who reaches /ip4/0.0.0.0/tcp/9097") {
		t.Errorf("got %s", text)
	}
	if quiet := logged(t, func() { _ = NewConfig().LoadJSON([]byte(`{}`)) }); quiet != "" {
		t.Errorf("the defaults are warned about: %s", quiet)
	}
}

func TestUserNamesThatBasicCannotCarryAreLoggedNotRefused(t *testing.T) {
	var c *Config
	text := logged(t, func() {
		c = load(t, `{"basic_auth_credentials": {"s3cr3t:name": "one", "alice": "t:w:o"}}`)
	})
	if !strings.Contains(text, "basic_auth_credentials: 1 of 2 user names have a colon") || strings.Contains(text, "s3cr3t") {
		t.Errorf("got %s", text)
	}
	if c.BasicAuthCredentials["s3cr3t:name"] != "one" {
		t.Error("the user is not kept")
	}
}
