package sectionconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const variable = "SECTIONCONFIG_TEST_SECRET"

// secretFile writes a file and returns its path.
func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLookupSecret_ReadsTheVariableOrTheFile(t *testing.T) {
	if _, ok, err := LookupSecret(variable); ok || err != nil {
		t.Errorf("unset: %v, %v", ok, err)
	}
	t.Run("variable", func(t *testing.T) {
		t.Setenv(variable, " a b\n")
		if got, ok, err := LookupSecret(variable); got != " a b\n" || !ok || err != nil {
			t.Errorf("got %q, %v, %v", got, ok, err)
		}
	})
	for content, want := range map[string]string{
		"s3cr3t": "s3cr3t", "s3cr3t\n": "s3cr3t", "s3cr3t\r\n": "s3cr3t", " a \nb\n\n": " a \nb",
	} {
		t.Run("file", func(t *testing.T) {
			t.Setenv(variable+"_FILE", secretFile(t, content))
			if got, ok, err := LookupSecret(variable); got != want || !ok || err != nil {
				t.Errorf("%q: got %q, %v, %v", content, got, ok, err)
			}
		})
	}
}

func TestLookupSecret_NamesTheVariableInFaults(t *testing.T) {
	for name, path := range map[string]string{
		"no name": "", "no such file": filepath.Join(t.TempDir(), "nowhere"), "folder": t.TempDir(),
		"empty": secretFile(t, ""), "line break only": secretFile(t, "\n"), "endless": "/dev/zero",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(variable+"_FILE", path)
			_, ok, err := LookupSecret(variable)
			if ok || err == nil || !strings.HasPrefix(err.Error(), variable+"_FILE: ") {
				t.Errorf("got %v, %v", ok, err)
			}
		})
	}
	t.Run("both", func(t *testing.T) {
		t.Setenv(variable, "s3cr3t")
		t.Setenv(variable+"_FILE", secretFile(t, "s3cr3t"))
		_, ok, err := LookupSecret(variable)
		if ok || err == nil || !strings.HasPrefix(err.Error(), variable+"_FILE and "+variable+" are both set") || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("got %v, %v", ok, err)
		}
	})
}
