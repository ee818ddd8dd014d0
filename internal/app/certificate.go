package app

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// certificate is a server's certificate with its key, as PEM files hold them. It is read again when they change, as on a renewal; files that do not fit
// together, as halfway through one, change nothing.
type certificate struct {
	certFile, keyFile string
	fault             func(error) // hears of files that cannot be used
	now               func() time.Time

	mu     sync.Mutex
	pair   *tls.Certificate
	looked time.Time
	seen   [2]os.FileInfo // the files that pair was read from
}

// lookApart is how long files are taken to be what they were at the last look.
const lookApart = time.Second

// openCertificate reads the files for the first time, when a fault is an error.
func openCertificate(certFile, keyFile string, now func() time.Time, fault func(error)) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, fault: fault, now: now}
	seen, err := c.stat()
	if err != nil {
		return nil, fmt.Errorf("TLS certificate: %w", err)
	}
	return c, c.read(seen)
}

// stat says what the files are like. It is asked before they are read, so that a change in between is noticed at the next look.
func (c *certificate) stat() (seen [2]os.FileInfo, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if seen[i], err = os.Stat(name); err != nil {
			return seen, err
		}
	}
	return seen, nil
}

func (c *certificate) read(seen [2]os.FileInfo) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("TLS certificate: %w", err)
	}
	c.pair, c.seen, c.looked = &pair, seen, c.now()
	return nil
}

// current is the certificate as the files hold it, or as they held it when they could last be used.
func (c *certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if since := now.Sub(c.looked); since >= 0 && since < lookApart {
		return c.pair
	}
	c.looked = now
	seen, err := c.stat()
	if err == nil && (changed(c.seen[0], seen[0]) || changed(c.seen[1], seen[1])) {
		err = c.read(seen)
	}
	if err != nil {
		c.fault(err)
	}
	return c.pair
}

func changed(was, is os.FileInfo) bool {
	return !os.SameFile(was, is) || !was.ModTime().Equal(is.ModTime()) || was.Size() != is.Size()
}

// forCall is tls.Config.GetCertificate.
func (c *certificate) forCall(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current(), nil
}

// expiry tells until when the certificate is valid.
func (c *certificate) expiry() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chuishao_certificate_expiry_timestamp_seconds", Help: "When the certificate that callers are shown ends.",
	}, func() float64 { return float64(c.current().Leaf.NotAfter.Unix()) })
}
