package config

import (
	"maps"
	"strings"
	"testing"
	"time"
)

func TestVariablesOfTheAddedKeys(t *testing.T) {
	t.Setenv("CLUSTER_PINSVCAPI_ALLOWUNAUTHENTICATED", "true")
	t.Setenv("CLUSTER_PINSVCAPI_HTTPLISTENMULTIADDRESS", "/ip4/0.0.0.0/tcp/9097, /ip6/::/tcp/9097")
	t.Setenv("CLUSTER_PINSVCAPI_MAXBODYBYTES", "65536")
	t.Setenv("CLUSTER_PINSVCAPI_BODYREADTIMEOUT", "1m")
	t.Setenv("CLUSTER_PINSVCAPI_SHUTDOWNTIMEOUT", "0s")
	t.Setenv("CLUSTER_PINSVCAPI_REFUSEPRIVATEORIGINS", "1")
	t.Setenv("CLUSTER_PINSVCAPI_MAXPINATTEMPTS", "7")
	t.Setenv("CLUSTER_PINSVCAPI_STATUSSWEEPINTERVAL", "1h")
	t.Setenv("CLUSTER_PINSVCAPI_RECONCILEINTERVAL", "30s")
	c := defaults(t)
	if err := c.ApplyEnvVars(); err != nil {
		t.Fatal(err)
	}
	if !c.AllowUnauthenticated || len(c.HTTPListenAddr) != 2 || c.MaxBodyBytes != 65536 ||
		c.BodyReadTimeout != time.Minute || c.ShutdownTimeout != 0 || !c.RefusePrivateOrigins ||
		c.MaxPinAttempts != 7 || c.StatusSweepInterval != time.Hour || c.ReconcileInterval != 30*time.Second {
		t.Errorf("not applied: %v", c)
	}
}

func TestVariablesLeaveOtherKeysAlone(t *testing.T) {
	c := load(t, files(t, "good")["every_key"])
	t.Setenv("CLUSTER_PINSVCAPI_IDLETIMEOUT", "1s")
	if err := c.ApplyEnvVars(); err != nil {
		t.Fatal(err)
	}
	want := load(t, files(t, "good")["every_key"])
	want.IdleTimeout = time.Second
	mustEqual(t, c, want)
}

func TestPasswordsInVariablesMayHoldColons(t *testing.T) {
	t.Setenv("CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS", "alice:a:b:c, bob::")
	c := defaults(t)
	if err := c.ApplyEnvVars(); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"alice": "a:b:c", "bob": ":"}; !maps.Equal(c.BasicAuthCredentials, want) {
		t.Errorf("got %v", c.BasicAuthCredentials)
	}
}

func TestBadVariablesAreAllNamedAndNothingChanges(t *testing.T) {
	bad := map[string]string{
		"HTTPLISTENMULTIADDRESS": "s3cr3t/tcp", "READTIMEOUT": "s3cr3t", "MAXHEADERBYTES": "s3cr3t",
		"PRIVATEKEY": "s3cr3t", "BASICAUTHCREDENTIALS": "s3cr3t,alice:s3cr3t", "HEADERS": "s3cr3t",
		"CORSALLOWCREDENTIALS": "s3cr3t", "MAXBODYBYTES": "", "ALLOWUNAUTHENTICATED": "",
	}
	for name, value := range bad {
		t.Setenv("CLUSTER_PINSVCAPI_"+name, value)
	}
	c := load(t, `{"idle_timeout": "1s"}`)
	err := c.ApplyEnvVars()
	if err == nil {
		t.Fatal("accepted")
	}
	if got := len(faultsOf(t, err)); got != len(bad) {
		t.Errorf("%d faults, want %d: %v", got, len(bad), err)
	}
	for _, k := range Keys() {
		suffix := strings.TrimPrefix(k.Env, "CLUSTER_PINSVCAPI_")
		if _, ok := bad[suffix]; ok && !strings.Contains(err.Error(), "api.pinsvcapi."+k.Name+": ") {
			t.Errorf("%s is not named: %v", k.Name, err)
		}
	}
	// Addresses are no secrets; they are the only values that are quoted.
	if strings.Count(err.Error(), "s3cr3t") != 1 {
		t.Errorf("tells a value: %v", err)
	}
	mustEqual(t, c, load(t, `{"idle_timeout": "1s"}`))
}

func TestCredentialsThatSomebodyForgotToFillInAreAFault(t *testing.T) {
	t.Setenv("CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS", "")
	err := defaults(t).ApplyEnvVars()
	if err == nil || faultsOf(t, err)[0].Key != "basic_auth_credentials" {
		t.Errorf("got %v", err)
	}
}

func TestAFileThatNeedsTheVariablesIsJudgedWithThem(t *testing.T) {
	const section = `{"http_listen_multiaddress": "/ip4/0.0.0.0/tcp/9097"}`
	t.Setenv("CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS", "alice:s3cr3t")
	c := load(t, section)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.BasicAuthCredentials["alice"] != "s3cr3t" {
		t.Error("valid without the users that it needs")
	}
	t.Setenv("CLUSTER_PINSVCAPI_READTIMEOUT", "soon")
	err := NewConfig().LoadJSON([]byte(section))
	if err == nil || faultsOf(t, err)[0].Key != "read_timeout" {
		t.Errorf("got %v", err)
	}
}

func TestAFileThatIsValidIsReadWithoutTheVariables(t *testing.T) {
	t.Setenv("CLUSTER_PINSVCAPI_READTIMEOUT", "5s")
	mustEqual(t, load(t, `{}`), defaults(t))
}
