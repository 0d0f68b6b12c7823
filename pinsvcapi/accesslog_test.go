package pinsvcapi

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestAccessLogger_AppendsToTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	for range 2 {
		s := start(t, func(set *setup) { set.cfg.HTTPLogFile = path })
		s.do(http.MethodGet, "/health", "").is(200)
		s.shutdown(context.Background())
	}
	if got, raw := events(t, path); len(got) != 2 {
		t.Errorf("%d events:\n%s", len(got), raw)
	}
}

func TestAccessLogger_FileThatCannotBeOpenedIsAnError(t *testing.T) {
	cfg := testConfig(t)
	cfg.HTTPLogFile = filepath.Join(t.TempDir(), "none", "access.log")
	if _, err := NewAPI(t.Context(), cfg, Options{}); err == nil || !strings.Contains(err.Error(), "http_log_file") {
		t.Errorf("NewAPI says %v", err)
	}
}

// An address may be a part of the text of another one.
func TestHostOf_IsTheWholeAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"10.0.0.12:4711": "10.0.0.12", "[2001:db8::1]:443": "2001:db8::1", "@": "@", "12D3KooW": "12D3KooW",
	} {
		if got := hostOf(remote); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}
