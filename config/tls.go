package config

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
)

// maxPEMBytes is far more than any certificate chain.
const maxPEMBytes = 1 << 20

// loadTLS reads the certificate and its key, or returns nil when there is
// none. Cipher suites and curves are left to Go's defaults, which serve RSA
// and ECDSA keys.
func loadTLS(baseDir, certFile, keyFile string, f *faults) *tls.Config {
	if certFile == "" || keyFile == "" {
		return nil
	}
	certPEM, err := readPEM(resolve(baseDir, certFile))
	if err != nil {
		f.add("ssl_cert_file", "cannot be read: %v", err)
	}
	keyPEM, err := readPEM(resolve(baseDir, keyFile))
	if err != nil {
		f.add("ssl_key_file", "cannot be read: %v", err)
	}
	if f.has("ssl_cert_file", "ssl_key_file") {
		return nil
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		f.add("ssl_cert_file", "and ssl_key_file are not a certificate and its key: %v", err)
		return nil
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{cert},
	}
}

func readPEM(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxPEMBytes+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxPEMBytes {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxPEMBytes)
	}
	return raw, nil
}

// ReadTLS reads the certificate and its key again, as when the section was
// read, without changing the Config. It returns nil when the Config names no
// files, and an error with a *Fault for each key that is wrong.
func (c *Config) ReadTLS() (*tls.Config, error) {
	var f faults
	loaded := loadTLS(c.BaseDir, c.PathSSLCertFile, c.PathSSLKeyFile, &f)
	return loaded, f.err()
}
