package config

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig"
)

// maxPEMBytes is far more than any certificate chain.
const maxPEMBytes = 1 << 20

// CertificateFiles returns the files of the certificate and of its key,
// resolved against the configuration folder, or two empty texts if none are
// configured.
func (c *Config) CertificateFiles() (certFile, keyFile string) {
	if c.PathSSLCertFile == "" || c.PathSSLKeyFile == "" {
		return "", ""
	}
	return resolve(c.BaseDir, c.PathSSLCertFile), resolve(c.BaseDir, c.PathSSLKeyFile)
}

// LoadCertificate reads the certificate and its key from the configured files
// again, so that a renewed certificate is served without a restart. It returns
// nil if no files are configured. The error joins all faults, each of type
// *Fault. TLS is not changed.
//
// A tls.Config that calls it from GetCertificate must have no Certificates:
// Go prefers these for clients that name no server.
func (c *Config) LoadCertificate() (*tls.Certificate, error) {
	f := section().Faults()
	cert := c.readCertificate(f)
	return cert, f.Err()
}

// readCertificate returns nil if there is a fault, or no certificate.
func (c *Config) readCertificate(f *sectionconfig.Faults) *tls.Certificate {
	certFile, keyFile := c.CertificateFiles()
	if certFile == "" {
		return nil
	}
	certPEM, err := readPEM(certFile)
	if err != nil {
		f.Add("ssl_cert_file", "cannot be read: %v", err)
	}
	keyPEM, err := readPEM(keyFile)
	if err != nil {
		f.Add("ssl_key_file", "cannot be read: %v", err)
	}
	if f.Has("ssl_cert_file", "ssl_key_file") {
		return nil
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		f.Add("ssl_cert_file", "and ssl_key_file are not a certificate and its key: %v", err)
		return nil
	}
	return &cert
}

// loadTLS sets TLS if a certificate is configured, and leaves the one of an
// embedder alone if not. Cipher suites and curves are left to Go's defaults,
// which serve RSA and ECDSA keys.
func (c *Config) loadTLS(f *sectionconfig.Faults) {
	if cert := c.readCertificate(f); cert != nil {
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert}}
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
