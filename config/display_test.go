package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/jsonobject"
)

// displays returns every way in which a Config may get into a log.
func displays(t *testing.T, c *Config) map[string]string {
	t.Helper()
	out := map[string]string{"String": c.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		out[verb] = fmt.Sprintf(verb, c)
		out[verb+" of the value"] = fmt.Sprintf(verb, *c)
		out[verb+" inside a struct"] = fmt.Sprintf(verb, struct{ Section *Config }{c})
		out[verb+" inside a struct by value"] = fmt.Sprintf(verb, struct{ Section Config }{*c})
	}
	display, err := c.ToDisplayJSON()
	if err != nil {
		t.Fatal(err)
	}
	out["ToDisplayJSON"] = string(display)
	marshalled, err := json.Marshal(map[string]any{"pointer": c, "value": *c})
	if err != nil {
		t.Fatal(err)
	}
	out["json.Marshal"] = string(marshalled)
	for name, handler := range map[string]func(*strings.Builder) slog.Handler{
		"slog text": func(b *strings.Builder) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog json": func(b *strings.Builder) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b strings.Builder
		slog.New(handler(&b)).Info("loaded", "config", c)
		out[name] = b.String()
	}
	return out
}

func TestDisplay_MasksSecrets(t *testing.T) {
	c := load(t, files(t, "good")["every_key"])
	c.unknown = load(t, files(t, "good")["unknown_keys"]).unknown
	key, err := formatPrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for how, text := range displays(t, c) {
		for _, secret := range []string{"s3cr3t", "h:i,dden", "alice", key} {
			if strings.Contains(text, secret) {
				t.Errorf("%s tells %q: %s", how, secret, text)
			}
		}
	}
}

func TestDisplay_ShowsEveryKey(t *testing.T) {
	for _, name := range []string{"every_key", "empty"} {
		raw, err := load(t, files(t, "good")[name]).ToDisplayJSON()
		if err != nil {
			t.Fatal(err)
		}
		members, err := jsonobject.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for _, m := range members {
			got = append(got, m.Name)
		}
		for _, k := range Keys() {
			want = append(want, k.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestDisplay_DistinguishesMaskedFromUnset(t *testing.T) {
	unset := defaults(t).String()
	if !strings.Contains(unset, `"basic_auth_credentials":null`) || !strings.Contains(unset, `"private_key":""`) {
		t.Errorf("unset secrets are not shown as such: %s", unset)
	}
	set := load(t, files(t, "good")["every_key"]).String()
	if strings.Count(set, "XXX_hidden_XXX") != 2 {
		t.Errorf("want two masked keys: %s", set)
	}
}
