package config

import (
	"bufio"
	"fmt"
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
	return strings.ReplaceAll(text.String(), `\"`, `"`)
}

func TestWarnings_NameUnknownKeysWithoutTheirValues(t *testing.T) {
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

func TestWarnings_NameAnOpenService(t *testing.T) {
	section := files(t, "good")["public_without_users_on_purpose"]
	text := logged(t, func() { _ = NewConfig().LoadJSON([]byte(section)) })
	if !strings.Contains(text, "everyone who reaches /ip4/0.0.0.0/tcp/9097") {
		t.Errorf("got %s", text)
	}
	if quiet := logged(t, func() { _ = NewConfig().LoadJSON([]byte(`{}`)) }); quiet != "" {
		t.Errorf("the defaults are warned about: %s", quiet)
	}
}

func TestWarnings_CountUserNamesThatBasicCannotCarry(t *testing.T) {
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

func TestWarnings_NameUsersWithShortPasswords(t *testing.T) {
	var c *Config
	text := logged(t, func() {
		c = load(t, `{"basic_auth_credentials": {"bob": "s3cr3t", "alice": "elevenchars", "eve": "twelve chars", "carol:x": "s3cr3t"}}`)
	})
	const want = `api.pinsvcapi.basic_auth_credentials: the password of "alice", "bob" and 1 more has fewer than 12 characters`
	if !strings.Contains(text, want) || strings.Contains(text, "s3cr3t") || strings.Contains(text, "carol") {
		t.Errorf("got %s", text)
	}
	if len(c.BasicAuthCredentials) != 4 {
		t.Error("a user is missing")
	}
	if quiet := logged(t, func() { load(t, `{"basic_auth_credentials": {"bob": "ünïcödé pass"}}`) }); quiet != "" {
		t.Errorf("a password of twelve characters is warned about: %s", quiet)
	}
}

func TestWarnings_OfManyUsersAreBounded(t *testing.T) {
	c := defaults(t)
	c.BasicAuthCredentials = map[string]string{}
	for i := range 1000 {
		c.BasicAuthCredentials[fmt.Sprintf("user%03d", i)] = "s3cr3t"
	}
	if list := c.Warnings(); len(list) != 1 || !strings.Contains(list[0], `"user009" and 990 more has fewer`) || len(list[0]) > 400 {
		t.Errorf("got %q", list)
	}
}

// The environment replaces the passwords of the file: only the result counts.
func TestWarnings_AreOfTheConfigurationThatHolds(t *testing.T) {
	t.Setenv("CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS", "bob:a-long-password")
	text := logged(t, func() {
		c := load(t, `{"basic_auth_credentials": {"bob": "short"}}`)
		if err := c.ApplyEnvVars(); err != nil {
			t.Error(err)
		}
	})
	if text != "" {
		t.Errorf("got %s", text)
	}
	t.Setenv("CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS", "bob:short")
	text = logged(t, func() {
		c := load(t, `{"basic_auth_credentials": {"bob": "a-long-password"}}`)
		if err := c.ApplyEnvVars(); err != nil {
			t.Error(err)
		}
	})
	if strings.Count(text, `the password of "bob" has fewer`) != 1 {
		t.Errorf("got %s", text)
	}
}
