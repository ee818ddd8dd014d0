package whole

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{n: 1}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// sign makes a certificate for a server on this machine, or for a client, and its key, in PEM.
func (a *authority) sign(t testing.TB, subject pkix.Name) (cert, key []byte) {
	t.Helper()
	a.n++
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.n), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &own.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

func TestBeyondThisMachineOnlyWithPrincipalsAndTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		// As an editor does it: a new file in the place of the old.
		if err := os.WriteFile(path+".new", b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca, strangers := newAuthority(t, "city CA"), newAuthority(t, "another CA")
	cert, key := ca.sign(t, pkix.Name{CommonName: "dispatcher"})
	hash := func(token string) string {
		t.Helper()
		cmd := exec.Command(dispatcher, "token")
		cmd.Stdin, cmd.Env = strings.NewReader(token+"\n"), environment()
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	entry := func(person, role, credential string) string {
		return fmt.Sprintf("- {person: %s, unit: %q, roles: [%s], %s}\n", person, centre, role, credential)
	}
	kept := entry("li", "AGENT, DISPATCHER", "token_sha256: "+hash("token-of-li")) + entry("audit", "AUDITOR", "token_sha256: "+hash("token-of-audit")) +
		entry("hotline", "CONNECTED_SYSTEM, AGENT", "certificate_subject: \"CN=hotline,O=City\"")
	all := "principals:\n" + kept
	principals := file("principals.yaml", []byte(all+entry("wang", "AGENT", "token_sha256: "+hash("token-of-wang"))+
		entry("past", "AGENT", "token_sha256: "+hash("token-of-past")+", valid_to: 2020-01-01T00:00:00Z")))
	certFile, keyFile, caFile := file("cert.pem", cert), file("key.pem", key), file("ca.pem", ca.pem())
	data := filepath.Join(dir, "data")
	loadCity(t, data)

	open := []string{"serve", "--data", data, "--grpc", "0.0.0.0:0", "--http", "127.0.0.1:0"}
	refused(t, []string{"--principals"}, dispatcher, open...)
	refused(t, []string{"--principals"}, dispatcher, append(open, "--tls-cert", certFile, "--tls-key", keyFile)...)
	refused(t, []string{"--tls-cert"}, dispatcher, append(open, "--principals", principals)...)
	refused(t, []string{"--principals"}, dispatcher, "serve", "--data", data, "--grpc", ":0", "--http", "127.0.0.1:0")
	refused(t, []string{"--principals"}, dispatcher, "serve", "--data", data, "--grpc", "[::]:0", "--http", "127.0.0.1:0")
	refused(t, []string{"go together"}, dispatcher, append(open, "--principals", principals, "--tls-cert", certFile)...)
	refused(t, []string{"principals"}, dispatcher, append(open, "--principals", certFile, "--tls-cert", certFile, "--tls-key", keyFile)...)

	s, out := launch(t, nil, append(open[1:], "--principals", principals, "--tls-cert", certFile, "--tls-key", keyFile, "--tls-client-ca", caFile)...)
	if !s.ready(out) {
		t.Fatalf("the server ended:\n%s", s.stderr)
	}
	_, port, err := net.SplitHostPort(s.grpc)
	if err != nil {
		t.Fatal(err)
	}
	addr := "127.0.0.1:" + port
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	connect := func(certs ...tls.Certificate) client {
		t.Helper()
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool, Certificates: certs})))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return client{pb.NewTicketServiceClient(conn), pb.NewViewServiceClient(conn), pb.NewAuditServiceClient(conn), conn}
	}
	bearer := func(token string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
	}
	report := func(ctx context.Context, c client, id string) error {
		_, err := c.ReportTicket(ctx, matter(id))
		return err
	}
	turnedAway := func(err error, want string) {
		t.Helper()
		st, reason := status.Convert(err), ""
		for _, d := range st.Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok {
				reason = info.Reason
			}
		}
		if st.Code() != codes.Unauthenticated || reason != want {
			t.Errorf("got %v with reason %q; want Unauthenticated with %s", err, reason, want)
		}
	}
	c := connect()
	for _, token := range []string{"token-of-li", "token-of-wang"} {
		if err := report(bearer(token), c, token); err != nil {
			t.Errorf("%s: %v", token, err)
		}
	}
	turnedAway(report(t.Context(), c, "nobody"), "CREDENTIALS_MISSING")
	turnedAway(report(bearer("no-such-token"), c, "nobody"), "CREDENTIALS_UNKNOWN")
	turnedAway(report(bearer(hash("token-of-li")), c, "nobody"), "CREDENTIALS_UNKNOWN")
	turnedAway(report(bearer("token-of-past"), c, "nobody"), "CREDENTIALS_NOT_VALID_NOW")
	turnedAway(report(agent(t.Context()), c, "nobody"), "CREDENTIALS_UNKNOWN")
	if answer, err := healthpb.NewHealthClient(c.conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil || answer.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health asks for credentials: %v, %v", answer, err)
	}
	pair := func(a *authority, name pkix.Name) tls.Certificate {
		t.Helper()
		cert, key := a.sign(t, name)
		p, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	hotline := pkix.Name{CommonName: "hotline", Organization: []string{"City"}}
	if err := report(t.Context(), connect(pair(ca, hotline)), "certificate"); err != nil {
		t.Errorf("a client certificate: %v", err)
	}
	turnedAway(report(t.Context(), connect(pair(ca, pkix.Name{CommonName: "somebody"})), "nobody"), "CREDENTIALS_UNKNOWN")
	if err := report(t.Context(), connect(pair(strangers, hotline)), "nobody"); err == nil {
		t.Error("a certificate of another CA was accepted")
	}
	plain, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.conn.Close()
	if err := report(bearer("token-of-li"), plain, "nobody"); err == nil {
		t.Error("a token in clear was accepted")
	}

	// Who reported is who the credentials say.
	who := map[string]string{}
	stream, err := c.StreamHistory(bearer("token-of-audit"), &pb.StreamHistoryRequest{})
	for err == nil {
		var e *pb.HistoryEvent
		if e, err = stream.Recv(); err == nil && e.Type == "TicketReported" {
			who[e.RequestId] = e.Actor.Person
		}
	}
	if fmt.Sprint(who) != "map[certificate:hotline token-of-li:li token-of-wang:wang]" {
		t.Errorf("reported by %v", who)
	}

	// Revoked while the server runs.
	file("principals.yaml", []byte(all))
	err = nil
	for late := time.Now().Add(patience); err == nil && time.Now().Before(late); {
		err = report(bearer("token-of-wang"), c, "token-of-wang")
	}
	turnedAway(err, "CREDENTIALS_UNKNOWN")
	if err := report(bearer("token-of-li"), c, "token-of-li"); err != nil {
		t.Errorf("a token that was kept: %v", err)
	}
	// A broken file leaves those in force that were, and is told.
	file("principals.yaml", []byte("principals: [{person: x}]"))
	for late := time.Now().Add(patience); !strings.Contains(s.stderr.String(), "principals") && time.Now().Before(late); {
		if err := report(bearer("token-of-li"), c, "token-of-li"); err != nil {
			t.Fatalf("with a broken file of principals: %v", err)
		}
	}
	if !strings.Contains(s.stderr.String(), "principals") {
		t.Error("the log does not tell of a broken file of principals")
	}
	file("principals.yaml", []byte(all))

	// The command line, with a token.
	token := file("token", []byte("token-of-audit\n"))
	if got := must(t, projector, "report", "closure", "--addr", addr, "--token-file", token, "--tls-ca", caFile, "--level", "all", "--format", "csv"); !strings.Contains(got, "\nall,,,,3,0,") {
		t.Errorf("the report is %q", got)
	}
	backup := filepath.Join(dir, "backup.tar")
	must(t, dispatcher, "backup", "--addr", addr, "--token-file", token, "--tls-ca", caFile, "--to", backup)
	refused(t, []string{"CREDENTIALS_UNKNOWN"}, projector, "verify", "--addr", addr, "--token-file", file("wang", []byte("token-of-wang")), "--tls-ca", caFile)
	refused(t, []string{"--token-file", "one token"}, projector, "verify", "--addr", addr, "--token-file", keyFile, "--tls-ca", caFile)
	refused(t, []string{"ROLE_NOT_ALLOWED"}, projector, "verify", "--addr", addr, "--token-file", file("li", []byte("token-of-li")), "--tls-ca", caFile)

	for _, secret := range []string{"token-of-", "no-such-token", hash("token-of-li")} {
		if strings.Contains(s.stderr.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	s.stop(t)
	verified(t, data)
}
