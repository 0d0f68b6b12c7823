package kubo

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestOverlay_KeepsTheOperatorsEdits(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.StorageMax = "7GB"
	madeRepo(t, cfg)

	editKubo(t, cfg, "Datastore.StorageMax", `"9GB"`)
	editKubo(t, cfg, "Datastore.StorageGCWatermark", `75`)
	editKubo(t, cfg, "Addresses.API", `"/ip4/0.0.0.0/tcp/5001"`)
	editKubo(t, cfg, "Addresses.Gateway", `"/ip4/0.0.0.0/tcp/8080"`)
	doc := prepared(t, cfg)
	expect(t, doc, map[string]any{
		"Datastore.StorageMax":         "9GB", // edited later than service.json
		"Datastore.StorageGCWatermark": 75,
		"Addresses.API":                anyRPC, // not the operator's
		"Addresses.Gateway":            []string{},
	})

	cfg.StorageMax = "8GB" // now service.json is the later one
	expect(t, prepared(t, cfg), map[string]any{"Datastore.StorageMax": "8GB", "Datastore.StorageGCWatermark": 75})

	cfg.StorageMax = "" // and now it has no opinion
	expect(t, prepared(t, cfg), map[string]any{"Datastore.StorageMax": "9GB"})

	editKubo(t, cfg, "Addresses.API", `"/ip4/127.0.0.1/tcp/0"`)
	editKubo(t, cfg, "Addresses.API", `["/ip6/::1/tcp/0"]`) // on loopback, the operator may choose
	expect(t, prepared(t, cfg), map[string]any{"Addresses.API": []string{"/ip6/::1/tcp/0"}})
}

// The overlay against a naive model of "the last edit holds".
func TestOverlay_LastEditWins(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keys := []string{"A", "B.C", "B.D.E"}
		value := rapid.SampledFrom([]any{nil, true, "x", "y", []any{"z"}, map[string]any{"k": "v"}})
		set := rapid.SampledFrom([]any{true, "x", "y", []any{"z"}, map[string]any{"k": "v"}})
		doc, memory := document{}, overlay{Settings: map[string]laid{}}
		wanted, model := map[string]any{}, map[string]any{}
		own := map[string]any{} // what a key had when our first value was laid over it
		t.Repeat(map[string]func(*rapid.T){
			"operator edits": func(t *rapid.T) {
				key, v := rapid.SampledFrom(keys).Draw(t, "key"), value.Draw(t, "value")
				doc.set(key, v)
				model[key] = v
			},
			"service.json changes": func(t *rapid.T) {
				key, v := rapid.SampledFrom(keys).Draw(t, "key"), set.Draw(t, "value")
				last, was := wanted[key]
				if was && reflect.DeepEqual(last, v) {
					return
				}
				if !was || !same(model[key], last) {
					own[key] = model[key]
				}
				wanted[key], model[key] = v, v
				memory.lay(doc, settingsOf(wanted))
			},
			"service.json forgets": func(t *rapid.T) {
				key := rapid.SampledFrom(keys).Draw(t, "key")
				if last, was := wanted[key]; was && same(model[key], last) {
					model[key] = own[key]
				}
				delete(wanted, key)
				memory.lay(doc, settingsOf(wanted))
			},
			"": func(t *rapid.T) {
				memory.lay(doc, settingsOf(wanted))
				if again := memory.lay(doc, settingsOf(wanted)); len(again) > 0 {
					t.Fatalf("a second start changes %v", again)
				}
				for _, key := range keys {
					if got := doc.get(key); !same(got, model[key]) {
						t.Fatalf("%s is %v, want %v", key, got, model[key])
					}
				}
			},
		})
	})
}

func settingsOf(wanted map[string]any) []setting {
	var settings []setting
	for key, value := range wanted {
		settings = append(settings, setting{key, value})
	}
	return settings
}
