// Command image makes a container image of the binaries that `make image` has built, and pushes it if it is told where to.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/chuishao/dispatch/deploy/image"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "image: %v\n", err)
		os.Exit(1)
	}
}

func run() (err error) {
	from := flag.String("binaries", "", "`DIR` with a folder of binaries for each platform, such as linux-amd64")
	out := flag.String("out", "", "`FILE` to write the image to, as an OCI layout in a tar")
	called := flag.String("name", "chuishao/dispatch:dev", "`NAME` of the image in that file")
	push := flag.String("push", "", "`NAME` with registry and tag to push it to, with the credentials that docker login has left")
	flag.Parse()
	if *from == "" || *out == "" || flag.NArg() > 0 {
		return errors.New("want --binaries and --out")
	}
	found, err := filepath.Glob(filepath.Join(*from, "*-*"))
	if err != nil {
		return err
	}
	folders := map[string]string{}
	for _, folder := range found {
		folders[strings.Replace(filepath.Base(folder), "-", "/", 1)] = folder
	}
	index, err := image.Build(folders)
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	file, err := os.Create(*out)
	if err != nil {
		return err
	}
	if err := errors.Join(image.Write(file, index, *called), file.Close()); err != nil {
		return err
	}
	fmt.Printf("%s %s\n", *out, digest)
	if *push == "" {
		return nil
	}
	to, err := name.NewTag(*push, name.StrictValidation)
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(to, index, remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("push: %w", err)
	}
	fmt.Printf("%s@%s\n", to.Context().Name(), digest)
	return nil
}
