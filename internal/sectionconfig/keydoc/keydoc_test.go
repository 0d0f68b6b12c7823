package keydoc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig"
)

// source returns the folder of a package with that type Config.
func source(t *testing.T, fields string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"config.go":      "package example\n\n// Config is a section.\ntype Config struct {\n" + fields + "\n}\n",
		"config_test.go": "package example\n\ntype Config struct{}\n",
		"README.md":      "type Config struct",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTable_IsMadeOfCommentsAndKeys(t *testing.T) {
	dir := source(t, `
	// MaxWait is how long to wait
	// with a|b, "*" and Users. See Kubo.MaxWait, MaxWaits.
	MaxWait time.Duration
	// Users maps names to passwords.
	Users map[string]string`)
	table, err := Table(dir, []sectionconfig.Key{
		{Name: "max_wait", Field: "MaxWait", Env: "X_MAXWAIT", Type: "duration", Default: `"1s"`, Added: true},
		{Name: "users", Field: "Users", Env: "X_USERS", EnvFile: "X_USERS_FILE", Type: "object of texts", Default: "null", Secret: true},
	})
	want := "| Key | Type | Default | Meaning |\n| --- | --- | --- | --- |\n" +
		"| `max_wait`<br>`X_MAXWAIT` | duration | `\"1s\"` | How long to wait with a\\|b, \"\\*\" and `users`. See Kubo.MaxWait, MaxWaits. *Added by this project.* |\n" +
		"| `users`<br>`X_USERS`<br>`X_USERS_FILE` | object of texts | `null` | Maps names to passwords. Masked in every display. |\n"
	if err != nil || table != want {
		t.Errorf("%v, got\n%s\nwant\n%s", err, table, want)
	}
}

func TestTable_WantsACommentForEveryKey(t *testing.T) {
	for name, fields := range map[string]string{
		"none": "Wait int", "other name": "// This is a wait.\nWait int", "no full stop": "// Wait is a wait\nWait int", "no field": "",
	} {
		_, err := Table(source(t, fields), []sectionconfig.Key{{Name: "wait", Field: "Wait"}})
		if err == nil || !strings.Contains(err.Error(), "the comment of Wait") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Table(filepath.Join(t.TempDir(), "nowhere"), nil); err == nil {
		t.Error("a folder that is not there is accepted")
	}
}
