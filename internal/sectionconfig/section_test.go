package sectionconfig

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// example is a section with a key of every type and option.
type example struct {
	Text      string              `key:"text" default:"some text"`
	Wait      time.Duration       `key:"wait_for,zero" default:"30s"`
	Number    int                 `key:"number,zero" default:"3"`
	Large     int64               `key:"large,omitempty"`
	Enabled   bool                `key:"enabled" default:"true"`
	Items     []string            `key:"items" default:"a,b"`
	Addresses []string            `key:"addresses,single,zero" default:"x"`
	Users     map[string]string   `key:"users,secret,added"`
	Headers   map[string][]string `key:"headers" default:"{}"`

	derived int
}

func lenient() Section[example] {
	return Section[example]{
		Name: "a.b", EnvPrefix: "SECTIONCONFIG_TEST_", Lenient: true,
		Derive: func(c *example, _ *Faults) { c.derived++ },
		Validate: func(c *example, f *Faults) {
			if c.Number < 0 && !f.Has("number") {
				f.Add("number", "%d is negative", c.Number)
			}
			if c.Text == "forbidden" {
				f.Add("text", "is forbidden")
			}
		},
	}
}

func strict() Section[example] {
	s := lenient()
	s.Lenient = false
	return s
}

// loaded returns the section of a file, or fails the test.
func loaded(t *testing.T, s Section[example], raw string) example {
	t.Helper()
	var c example
	if _, err := s.Load(&c, []byte(raw)); err != nil {
		t.Fatal(err)
	}
	return c
}

// shown returns a section as it is written to the file.
func shown(t *testing.T, c example) string {
	t.Helper()
	raw, err := lenient().Encode(&c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// keysOf returns the keys of the faults that err joins.
func keysOf(t *testing.T, err error) (keys []string) {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("not joined: %v", err)
	}
	for _, e := range joined.Unwrap() {
		fault, ok := errors.AsType[*Fault](e)
		if !ok {
			t.Fatalf("no fault: %v", e)
		}
		keys = append(keys, fault.Key)
	}
	return keys
}

func TestLoad_OmittedNullAndZeroStandForTheDefault(t *testing.T) {
	var defaults example
	lenient().SetDefaults(&defaults)
	want := shown(t, defaults)
	for _, raw := range []string{
		`{}`, `null`, `{"text": null, "users": null, "headers": null, "items": null}`, `{"wait_for": "0s", "number": 0, "addresses": []}`,
	} {
		for _, s := range []Section[example]{lenient(), strict()} {
			if got := shown(t, loaded(t, s, raw)); got != want {
				t.Errorf("%s: got %s\nwant %s", raw, got, want)
			}
		}
	}
	if got := shown(t, loaded(t, lenient(), `{"text": "", "wait_for": "", "addresses": ""}`)); got != want {
		t.Errorf("lenient: got %s\nwant %s", got, want)
	}
	if c := loaded(t, strict(), `{"text": ""}`); c.Text != "" {
		t.Errorf("strict: %q", c.Text)
	}
}

func TestLoad_LetterCaseMattersUnlessLenient(t *testing.T) {
	var c example
	unknown, err := lenient().Load(&c, []byte(`{"TEXT": "x", "Number": 1, "number": 2}`))
	if err != nil || len(unknown) > 0 || c.Text != "x" || c.Number != 2 {
		t.Errorf("%+v, %v, %v", c, unknown, err)
	}
	unknown, err = strict().Load(&c, []byte(`{"TEXT": "x", "Number": 1, "number": 2}`))
	if err != nil || !slices.Equal(Names(unknown), []string{"Number", "TEXT"}) || c.Number != 2 {
		t.Errorf("%+v, %v, %v", c, unknown, err)
	}
}

func TestLoad_ReportsAllFaultsAndChangesNothing(t *testing.T) {
	c := loaded(t, lenient(), `{"text": "before"}`)
	before := shown(t, c)
	unknown, err := lenient().Load(&c, []byte(`{"number": -1, "wait_for": 5, "text": "forbidden", "items": "x", "users": {"a": 1},
		"headers": {"a": "b"}, "enabled": 1, "large": 1.5, "addresses": {}, "other": 1}`))
	if err == nil {
		t.Fatal("accepted")
	}
	got := keysOf(t, err)
	slices.Sort(got)
	want := []string{"addresses", "enabled", "headers", "items", "large", "number", "text", "users", "wait_for"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !slices.Equal(Names(unknown), []string{"other"}) {
		t.Errorf("unknown %v", unknown)
	}
	if got := shown(t, c); got != before {
		t.Errorf("changed to %s", got)
	}
}

func TestLoad_JudgesAFaultyFileWithTheEnvironment(t *testing.T) {
	t.Setenv("SECTIONCONFIG_TEST_TEXT", "allowed")
	if c := loaded(t, lenient(), `{"text": "forbidden"}`); c.Text != "allowed" {
		t.Errorf("%q", c.Text)
	}
	if c := loaded(t, lenient(), `{"text": "good"}`); c.Text != "good" {
		t.Errorf("a valid file is read with the environment: %q", c.Text)
	}
}

func TestLoad_RefusesWhatIsNoObject(t *testing.T) {
	for raw, want := range map[string]string{"": "a.b: is not JSON: ", "[]": "a.b: is not a JSON object", "{": "a.b: is not JSON: "} {
		var c example
		if _, err := lenient().Load(&c, []byte(raw)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func TestApplyEnv_EmptyVariables(t *testing.T) {
	for _, name := range []string{"TEXT", "WAITFOR", "ADDRESSES", "ITEMS", "USERS", "HEADERS"} {
		t.Setenv("SECTIONCONFIG_TEST_"+name, "")
	}
	c := loaded(t, lenient(), `{"wait_for": "1s", "addresses": "y", "users": {"a": "b"}, "headers": {"a": ["b"]}}`)
	if changed, err := lenient().ApplyEnv(&c); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if c.Text != "some text" || c.Wait != time.Second || c.Addresses[0] != "y" {
		t.Errorf("lenient: texts have changed: %+v", c)
	}
	if len(c.Items) != 0 || c.Users == nil || len(c.Users) != 0 || len(c.Headers) != 0 {
		t.Errorf("lenient: lists and maps have not been emptied: %+v", c)
	}
	_, err := strict().ApplyEnv(&c)
	if err == nil || !slices.Equal(keysOf(t, err), []string{"wait_for"}) {
		t.Errorf("strict: %v", err)
	}
	t.Setenv("SECTIONCONFIG_TEST_WAITFOR", "2s")
	if _, err = strict().ApplyEnv(&c); err != nil || c.Text != "" || !slices.Equal(c.Addresses, []string{"x"}) {
		t.Errorf("strict: %+v, %v", c, err)
	}
}

func TestApplyEnv_WithoutVariablesOnlyValidates(t *testing.T) {
	c := example{Text: "forbidden"}
	if changed, err := lenient().ApplyEnv(&c); changed || err == nil || c.derived != 0 {
		t.Errorf("%v, %v, %+v", changed, err, c)
	}
	if lenient().EnvIsSet() {
		t.Error("a variable is set")
	}
	t.Setenv("SECTIONCONFIG_TEST_USERS_FILE", "")
	if !lenient().EnvIsSet() {
		t.Error("no variable is set")
	}
}

func TestApplyEnv_ReadsOnlySecretsFromFiles(t *testing.T) {
	t.Setenv("SECTIONCONFIG_TEST_TEXT_FILE", secretFile(t, "x"))
	t.Setenv("SECTIONCONFIG_TEST_USERS_FILE", secretFile(t, "me:s3cr3t\n"))
	c := loaded(t, lenient(), `{}`)
	if _, err := lenient().ApplyEnv(&c); err != nil || c.Users["me"] != "s3cr3t" || c.Text != "some text" {
		t.Errorf("%+v, %v", c, err)
	}
	t.Setenv("SECTIONCONFIG_TEST_USERS", "me:s3cr3t")
	_, err := lenient().ApplyEnv(&c)
	if err == nil || !strings.Contains(err.Error(), "a.b.users: environment variable SECTIONCONFIG_TEST_USERS_FILE and SECTIONCONFIG_TEST_USERS are both set") {
		t.Errorf("got %v", err)
	}
}

func TestDisplay_MasksSecretsAndUnknownKeys(t *testing.T) {
	var c example
	unknown, err := lenient().Load(&c, []byte(`{"user": {"me": "s3cr3t"}, "users": {"me": "s3cr3t"}, "large": 0}`))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := lenient().Display(&c, unknown)
	if err != nil || strings.Contains(string(raw), "s3cr3t") || strings.Count(string(raw), "XXX_hidden_XXX") != 2 || !strings.Contains(string(raw), `"large": 0`) {
		t.Errorf("%v: %s", err, raw)
	}
	if raw, err = lenient().Encode(&c, unknown); err != nil || strings.Count(string(raw), "s3cr3t") != 2 || strings.Contains(string(raw), "large") {
		t.Errorf("%v: %s", err, raw)
	}
	c.Users = nil
	if raw, err = lenient().Display(&c, nil); err != nil || !strings.Contains(string(raw), `"users": null`) {
		t.Errorf("an unset secret is not shown as such: %v: %s", err, raw)
	}
}

func TestKeys_DescribeTheTags(t *testing.T) {
	var lines []string
	for _, k := range lenient().Keys() {
		lines = append(lines, fmt.Sprintf("%s %s %s %s|%s|%s %v %v", k.Name, k.Field, k.Env, k.EnvFile, k.Type, k.Default, k.Secret, k.Added))
	}
	want := []string{
		`text Text SECTIONCONFIG_TEST_TEXT |text|"some text" false false`,
		`wait_for Wait SECTIONCONFIG_TEST_WAITFOR |duration|"30s" false false`,
		`number Number SECTIONCONFIG_TEST_NUMBER |whole number|3 false false`,
		`large Large SECTIONCONFIG_TEST_LARGE |whole number|0 false false`,
		`enabled Enabled SECTIONCONFIG_TEST_ENABLED |true or false|true false false`,
		`items Items SECTIONCONFIG_TEST_ITEMS |list of texts|["a","b"] false false`,
		`addresses Addresses SECTIONCONFIG_TEST_ADDRESSES |address or list of addresses|"x" false false`,
		`users Users SECTIONCONFIG_TEST_USERS SECTIONCONFIG_TEST_USERS_FILE|object of texts|null true true`,
		`headers Headers SECTIONCONFIG_TEST_HEADERS |object of lists|{} false false`,
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got %s\nwant %s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestSetDefaults_SharesNoMemory(t *testing.T) {
	var a, b example
	lenient().SetDefaults(&a)
	lenient().SetDefaults(&b)
	a.Items[0], a.Addresses[0], a.Headers["x"] = "changed", "changed", nil
	if b.Items[0] != "a" || b.Addresses[0] != "x" || len(b.Headers) != 0 {
		t.Errorf("%+v", b)
	}
}

// What a variable says in JSON is what it says in the file.
func TestApplyEnv_JSONMeansWhatItMeansInTheFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		users := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "users")
		want := example{Users: users, Items: rapid.SliceOf(rapid.String()).Draw(t, "items")}
		var c example
		for _, f := range lenient().fields(&want) {
			if f.name != "users" && f.name != "items" {
				continue
			}
			value, err := f.encode()
			if err != nil {
				t.Fatal(err)
			}
			text := string(value)
			if f.name == "users" && users == nil {
				continue
			}
			if err := os.Setenv(f.env, text); err != nil {
				t.Fatal(err)
			}
			defer os.Unsetenv(f.env)
		}
		if _, err := lenient().ApplyEnv(&c); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(c.Items, want.Items) || fmt.Sprint(c.Users) != fmt.Sprint(want.Users) {
			t.Fatalf("got %+v, want %+v", c, want)
		}
	})
}
