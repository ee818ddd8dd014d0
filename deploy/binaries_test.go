package deploy

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"debug/elf"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

var binaryDir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "chuishao-deploy")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binaryDir = dir
		return m.Run()
	}())
}

// compiled makes the two binaries as the image has them, once.
var compiled = sync.OnceValue(func() error {
	build := exec.Command("go", "build", "-C", "..", "-o", binaryDir+string(filepath.Separator), "./cmd/dispatcher", "./cmd/projector")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the binaries: %w\n%s", err, out)
	}
	return nil
})

// binary is the path of a binary that was made of what stands here.
func binary(t *testing.T, name string) string {
	t.Helper()
	if err := compiled(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(binaryDir, name)
}

func TestTheBinariesNeedNothingOfTheirMachine(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Fatal("images are of Linux; build and test them there")
	}
	for _, name := range []string{"dispatcher", "projector"} {
		f, err := elf.Open(binary(t, name))
		if err != nil {
			t.Fatal(err)
		}
		libraries, err := f.ImportedLibraries()
		if err != nil || len(libraries) > 0 {
			t.Errorf("%s needs %v, %v; want a static binary", name, libraries, err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				t.Errorf("%s needs an interpreter", name)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

var variable = regexp.MustCompile(`\[(CHUISHAO_\w+)\]`)

// The manual is asked for last, so everything before it has been parsed by the flags as they are.
func TestArgumentsAndEnvironmentAreFlagsOfTheBinaries(t *testing.T) {
	t.Parallel()
	eachContainer(t, func(t *testing.T, b built, _ workload, c corev1.Container) {
		env := environment(b, c)
		asked := exec.Command(binary(t, strings.TrimPrefix(c.Command[0], "/")), append(slices.Clone(c.Args), "-h")...)
		asked.Env = []string{}
		for name, value := range env {
			asked.Env = append(asked.Env, name+"="+value)
		}
		out, err := asked.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", c.Command[0], strings.Join(c.Args, " "), err, out)
		}
		known := map[string]bool{}
		for _, m := range variable.FindAllStringSubmatch(string(out), -1) {
			known[m[1]] = true
		}
		for _, name := range slices.Sorted(maps.Keys(env)) {
			if strings.HasPrefix(name, "CHUISHAO_") && !known[name] {
				t.Errorf("%s stands for no flag of %s %s", name, c.Command[0], c.Args[0])
			}
		}
	})
}

// TestArguments is worth what asking for the manual last is worth.
func TestAFlagThatIsNotThereIsFoundThoughTheManualIsAskedFor(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary(t, "dispatcher"), "serve", "--no-such-flag=1", "-h").CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("no-such-flag")) {
		t.Errorf("got %v\n%s", err, out)
	}
}

// exported asks a running dispatcher for its metrics: each name with the labels that it has.
func exported(t *testing.T) map[string]map[string]bool {
	t.Helper()
	cert, key := ownCertificate(t)
	node := exec.Command(binary(t, "dispatcher"), "serve", "--data", filepath.Join(t.TempDir(), "data"), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0",
		"--tls-cert", cert, "--tls-key", key)
	node.Env = append(os.Environ(), "GOMEMLIMIT=256MiB")
	var complaints bytes.Buffer
	node.Stderr = &complaints
	told, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	defer func() {
		if !stopped {
			_ = node.Process.Kill()
			_ = node.Wait()
		}
	}()
	address := ""
	for lines := bufio.NewScanner(told); address == "" && lines.Scan(); {
		address, _ = strings.CutPrefix(lines.Text(), "http ")
		if strings.HasPrefix(lines.Text(), "grpc ") {
			address = ""
		}
	}
	if address == "" {
		t.Fatalf("it did not say where it serves\n%s", complaints.String())
	}
	for _, probe := range []string{"/healthz", "/readyz"} {
		if _, code := get(t, "http://"+address+probe); code != http.StatusOK {
			t.Errorf("%s answers %d", probe, code)
		}
	}
	text, code := get(t, "http://"+address+"/metrics")
	if code != http.StatusOK {
		t.Fatalf("/metrics answers %d", code)
	}
	if err := node.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, told); err != nil {
		t.Error(err)
	}
	stopped = true
	if err := node.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, complaints.String())
	}
	return series(t, text)
}

// ownCertificate makes a certificate that vouches for itself, and gives the files of it and its key.
func ownCertificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func get(t *testing.T, url string) (string, int) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return string(text), answer.StatusCode
}
