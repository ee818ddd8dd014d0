// Package image makes a container image of static binaries, and nothing else but a user to be, without a daemon and without a base
// image to fetch.
package image

import (
	"archive/tar"
	"bytes"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// User is the number of the user and group that a container is, as deploy/k8s says as well.
const User = 65532

// binaries are what an image holds, in its root; the first is what it runs.
var binaries = []string{"dispatcher", "projector"}

// Build makes an image for each platform, such as linux/amd64, of the binaries in the folder that it leads to. The same binaries make
// the same image, to the byte.
func Build(folders map[string]string) (v1.ImageIndex, error) {
	if len(folders) == 0 {
		return nil, errors.New("no platform to make an image for")
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	names := make([]string, 0, len(folders))
	for name := range folders {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		platform, err := v1.ParsePlatform(name)
		if err != nil {
			return nil, fmt.Errorf("platform %s: %w", name, err)
		}
		one, err := build(folders[name], platform)
		if err != nil {
			return nil, fmt.Errorf("image for %s: %w", name, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: one, Descriptor: v1.Descriptor{Platform: platform}})
	}
	return index, nil
}

func build(folder string, platform *v1.Platform) (v1.Image, error) {
	info, err := buildinfo.ReadFile(filepath.Join(folder, binaries[0]))
	if err != nil {
		return nil, err
	}
	labels := map[string]string{
		"org.opencontainers.image.title":    "chuishao",
		"org.opencontainers.image.source":   "https://github.com/chuishao/dispatch",
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.version":  info.Main.Version,
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "CGO_ENABLED" && s.Value != "0":
			return nil, fmt.Errorf("%s was built with cgo, and there is no C library in the image; build with CGO_ENABLED=0", binaries[0])
		case s.Key == "GOOS" && s.Value != platform.OS, s.Key == "GOARCH" && s.Value != platform.Architecture:
			return nil, fmt.Errorf("%s was built for %s=%s", binaries[0], s.Key, s.Value)
		case s.Key == "vcs.revision":
			labels["org.opencontainers.image.revision"] = s.Value
		}
	}
	content, err := files(folder)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	made := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	made, err = mutate.AppendLayers(made, layer)
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(made, &v1.ConfigFile{
		OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant,
		Config: v1.Config{
			User:       fmt.Sprintf("%d:%d", User, User),
			Entrypoint: []string{"/" + binaries[0]},
			Cmd:        []string{"help"},
			// No volume: a node that is told of no store fails on a read-only image, and begins no history that goes with its container.
			WorkingDir:   "/var/lib/chuishao",
			ExposedPorts: map[string]struct{}{"7878/tcp": {}, "7879/tcp": {}},
			Labels:       labels,
		},
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: diffIDs(made)},
		History: []v1.History{{CreatedBy: "make image"}},
	})
}

func diffIDs(of v1.Image) []v1.Hash {
	config, err := of.ConfigFile()
	if err != nil {
		return nil
	}
	return config.RootFS.DiffIDs
}

// files is the one layer: binaries, the user's name, and the folders it may write to where the image is not read-only.
func files(folder string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(h tar.Header, content []byte) error {
		h.Size, h.ModTime, h.Format = int64(len(content)), time.Unix(0, 0), tar.FormatPAX
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	}
	dir := func(name string, mode int64, owner int) error {
		return add(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Uid: owner, Gid: owner}, nil)
	}
	for _, name := range binaries {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		if err := add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755}, content); err != nil {
			return nil, err
		}
	}
	err := errors.Join(
		dir("etc", 0o755, 0),
		add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, fmt.Appendf(nil, "chuishao:x:%d:%d::/var/lib/chuishao:/none\n", User, User)),
		add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644}, fmt.Appendf(nil, "chuishao:x:%d:\n", User)),
		dir("tmp", 0o1777, 0),
		dir("var", 0o755, 0), dir("var/lib", 0o755, 0), dir("var/lib/chuishao", 0o750, User),
		w.Close(),
	)
	return out.Bytes(), err
}

// Write writes an OCI image layout as one tar file, which podman load, skopeo, ctr images import and kind load image-archive take. Name is what
// the image is called there.
func Write(to io.Writer, index v1.ImageIndex, name string) (err error) {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	_, tag, ok := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	if !ok {
		return fmt.Errorf("the image's name %q has no tag", name)
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": name,
	})); err != nil {
		return err
	}
	w := tar.NewWriter(to)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	return w.Close()
}
