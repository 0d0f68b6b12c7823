package pinsvcapi

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
)

// Reload applies what can change without a restart from cfg, the section as
// it was read again: the users (basic_auth_credentials), the certificate and
// its key (ssl_cert_file, ssl_key_file, whose files are read again) and the
// access log (http_log_file, which is opened again, as logrotate needs). Other
// keys that differ from those at the start are named in the log as in need of
// a restart.
//
// Each of the three is applied as a whole or, if it is invalid, not at all;
// the errors of all three are joined and name the key. Requests and
// connections go on: a request keeps the users and a connection the
// certificate that it began with. cfg must not be changed afterwards. Reload
// may be called by many goroutines at once; after Shutdown it is an error.
func (api *API) Reload(cfg *config.Config) error {
	api.lifecycle.Lock()
	defer api.lifecycle.Unlock()
	if api.shutdown {
		return errors.New("the Pinning Service API was shut down")
	}
	err := errors.Join(api.reloadUsers(cfg), api.reloadCertificates(cfg), api.accessLog.open(cfg.HTTPLogPath()))
	result := reloadOK
	if err != nil {
		result = reloadFailed
	}
	api.metrics.reloads.WithLabelValues(result).Inc()
	changed, diffErr := changedKeys(api.cfg, cfg)
	if len(changed) > 0 {
		logger.Warnf("api.pinsvcapi: these keys have changed and need a restart: %s", strings.Join(changed, ", "))
	}
	return errors.Join(err, diffErr)
}

// reloadUsers replaces the users, unless that would open the service to a
// network: the listeners stay those of the start.
func (api *API) reloadUsers(cfg *config.Config) error {
	next := *api.cfg
	next.BasicAuthCredentials = cfg.BasicAuthCredentials
	if err := next.Validate(); err != nil {
		return err
	}
	users, err := newUserSet(&next)
	if err != nil {
		return err
	}
	if err := api.checkExposure(users); err != nil {
		return err
	}
	api.users.Store(users)
	return nil
}

// reloadCertificates reads the files of the certificate again. Whether there
// is TLS at all changes with a restart only.
func (api *API) reloadCertificates(cfg *config.Config) error {
	if api.certs == nil {
		return nil
	}
	cert, err := cfg.LoadCertificate()
	switch {
	case err != nil:
		return err
	case cert != nil:
		api.certs.use([]tls.Certificate{*cert})
	case cfg.TLS != nil && len(cfg.TLS.Certificates) > 0: // An embedder's.
		api.certs.use(slices.Clone(cfg.TLS.Certificates))
	}
	return nil // changedKeys names ssl_cert_file if there is none now.
}

// changedKeys are the names of the keys that differ and cannot be reloaded.
func changedKeys(old, next *config.Config) ([]string, error) {
	was, err := keyValues(old)
	if err != nil {
		return nil, err
	}
	is, err := keyValues(next)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, key := range config.Keys() {
		if !bytes.Equal(was[key.Name], is[key.Name]) && !reloads(key.Name, old.TLS, next.TLS) {
			names = append(names, key.Name)
		}
	}
	return names, nil
}

// reloads reports whether Reload applies a change of the key.
func reloads(key string, old, next *tls.Config) bool {
	switch key {
	case "basic_auth_credentials", "http_log_file":
		return true
	case "ssl_cert_file", "ssl_key_file":
		return old != nil && next != nil
	default:
		return false
	}
}

// keyValues are the values of all keys as JSON.
func keyValues(cfg *config.Config) (map[string]json.RawMessage, error) {
	raw, err := cfg.ToJSON()
	if err != nil {
		return nil, fmt.Errorf("api.pinsvcapi: comparing the configurations: %w", err)
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(raw, &values); err != nil {
		return nil, fmt.Errorf("api.pinsvcapi: comparing the configurations: %w", err)
	}
	return values, nil
}
