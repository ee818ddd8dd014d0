package deploy

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/chuishao/dispatch/deploy/image"
)

// madeImage is the image of the binaries, for the platform of this machine.
func madeImage(t *testing.T) v1.ImageIndex {
	t.Helper()
	index, err := image.Build(map[string]string{runtime.GOOS + "/" + runtime.GOARCH: filepath.Dir(binary(t, "dispatcher"))})
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func digest(t *testing.T, of interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	d, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// only gives the one image of an index.
func only(t *testing.T, index v1.ImageIndex) v1.Image {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 {
		t.Fatalf("got %d images, want 1", len(manifest.Manifests))
	}
	if p := manifest.Manifests[0].Platform; p == nil || p.OS != runtime.GOOS || p.Architecture != runtime.GOARCH {
		t.Errorf("got platform %v", p)
	}
	one, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return one
}

// unpack writes the files of a tar below a folder, with their owners if this process is root.
func unpack(t *testing.T, from io.Reader, to string) (names []string) {
	t.Helper()
	for in := tar.NewReader(from); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		at := filepath.Join(to, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(at, 0o755)
		} else {
			content, readErr := io.ReadAll(in)
			err = errors.Join(readErr, os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, content, 0o600))
		}
		if err == nil && os.Geteuid() == 0 {
			err = os.Chown(at, h.Uid, h.Gid)
		}
		if err = errors.Join(err, os.Chmod(at, h.FileInfo().Mode())); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheImageIsALayoutThatOthersCanRead(t *testing.T) {
	t.Parallel()
	index := madeImage(t)
	if again := madeImage(t); digest(t, again) != digest(t, index) {
		t.Error("the same binaries make another image")
	}
	var file bytes.Buffer
	if err := image.Write(&file, index, "chuishao/dispatch:dev"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	unpack(t, &file, dir)
	read, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(read); err != nil {
		t.Error(err)
	}
	manifest, err := read.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Digest.String() != digest(t, index) || manifest.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "dev" {
		t.Errorf("got %+v, want the index %s, called dev", manifest.Manifests, digest(t, index))
	}
}

func TestTheImageHoldsTheBinariesAndIsNotRoot(t *testing.T) {
	t.Parallel()
	one := only(t, madeImage(t))
	config, err := one.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c := config.Config; c.User != "65532:65532" || !slices.Equal(c.Entrypoint, []string{"/dispatcher"}) || len(c.Volumes) > 0 || c.Labels["org.opencontainers.image.version"] == "" {
		t.Errorf("got %+v", c)
	}
	layers, err := one.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("got %d layers, %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	names := unpack(t, content, root)
	if want := []string{"dispatcher", "etc/", "etc/group", "etc/passwd", "projector", "tmp/", "var/", "var/lib/", "var/lib/chuishao/"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	for _, name := range []string{"dispatcher", "projector"} {
		in, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.ReadFile(binary(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(in, out) {
			t.Errorf("%s is not what was built", name)
		}
	}
	runAlone(t, root, config.Config.WorkingDir)
}

// runAlone plays a day with nothing but the image's files at hand: zones, for one, must be in the binary.
func runAlone(t *testing.T, root, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not run alone: only root may change the root of a process")
	}
	if err := os.Chmod(root, 0o755); err != nil { // the user of the image must reach it
		t.Fatal(err)
	}
	day := exec.Command("/dispatcher", "demo", "--tickets", "30", "--speed", "0", "--once", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", "data")
	day.Env, day.Dir = []string{}, dir
	day.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: image.User, Gid: image.User}}
	if out, err := day.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("What to try next")) {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(root, dir, "data", "history.db")); err != nil {
		t.Error(err)
	}
}

func TestABinaryThatCannotRunThereMakesNoImage(t *testing.T) {
	t.Parallel()
	for what, platform := range map[string]string{"GOARCH=": "linux/riscv64", "GOOS=": "plan9/" + runtime.GOARCH} {
		if _, err := image.Build(map[string]string{platform: filepath.Dir(binary(t, "dispatcher"))}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: got %v", platform, err)
		}
	}
	if _, err := image.Build(map[string]string{"linux/amd64": t.TempDir()}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no binaries: got %v", err)
	}
	if _, err := image.Build(nil); err == nil {
		t.Error("no platform makes an image")
	}
}

func TestMakeImagePushesWhatItWrites(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	built := filepath.Join(t.TempDir(), runtime.GOOS+"-"+runtime.GOARCH)
	if err := os.Symlink(filepath.Dir(binary(t, "dispatcher")), built); err != nil {
		t.Fatal(err)
	}
	to := strings.TrimPrefix(server.URL, "http://") + "/chuishao/dispatch:v1"
	push := exec.Command("go", "run", "./cmd/image", "--binaries", filepath.Dir(built), "--out", filepath.Join(t.TempDir(), "image.tar"), "--push", to)
	out, err := push.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := digest(t, madeImage(t))
	if !strings.Contains(string(out), "/chuishao/dispatch@"+want) {
		t.Errorf("got %s, want %s", out, want)
	}
	_, code := get(t, server.URL+"/v2/chuishao/dispatch/manifests/"+want)
	if code != 200 {
		t.Errorf("the registry has no %s: %d", want, code)
	}
}
