package app

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
	"github.com/chuishao/dispatch/internal/privacy"
)

// A backup is a tar file of the manifest, history and keys. It holds the keys of data subjects: guard it as what it opens.
const manifestFile = "manifest.json"

// manifest says what is in a backup.
type manifest struct {
	Format int               `json:"format"`
	Made   time.Time         `json:"made_at"`
	SHA256 map[string]string `json:"sha256"`
}

// leftovers begin the names of what a backup, a verification, a restore and the making of keys work in beside the data.
var leftovers = []string{".backup-", ".verify-", ".restore-", ".keys-"}

// removeLeftovers removes what such work left in a data directory when its process was killed. It can hold keys that were destroyed since. The caller
// holds the directory's lock.
func removeLeftovers(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for leftovers: %w", err)
	}
	for _, e := range entries {
		if !slices.ContainsFunc(leftovers, func(prefix string) bool { return strings.HasPrefix(e.Name(), prefix) }) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove leftovers: %w", err)
		}
	}
	return nil
}

// scratch is where what is only worked in lies: in the data directory, which has the room, or where temporary files are kept if nothing of the node is in one.
func (n *Node) scratch() string {
	if info, err := os.Stat(n.Dir); err != nil || !info.IsDir() {
		return ""
	}
	return n.Dir
}

// Backup writes a consistent copy of history and keys while the node works. Views are left out: they are built again.
func (n *Node) Backup(ctx context.Context, to io.Writer) (err error) {
	dir, err := os.MkdirTemp(n.scratch(), ".backup-")
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// The history first: every key that its events need was durable before they were.
	if err := backUpHistory(ctx, n.Store, filepath.Join(dir, HistoryFile)); err != nil {
		return fmt.Errorf("back up history: %w", err)
	}
	if err := n.Keys.Backup(ctx, filepath.Join(dir, KeysFile)); err != nil {
		return fmt.Errorf("back up keys: %w", err)
	}
	m := manifest{Format: 1, Made: n.Dispatcher.Now(), SHA256: map[string]string{}}
	for _, name := range []string{HistoryFile, KeysFile} {
		if m.SHA256[name], err = hashFile(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
	}
	head, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	out := tar.NewWriter(to)
	if err := out.WriteHeader(&tar.Header{Name: manifestFile, Mode: 0o600, Size: int64(len(head)), ModTime: m.Made}); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	if _, err := out.Write(head); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	for _, name := range []string{HistoryFile, KeysFile} {
		if err := addFile(ctx, out, filepath.Join(dir, name), name, m.Made); err != nil {
			return fmt.Errorf("write backup: %w", err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return nil
}

// backUpHistory makes a file of a history: of one that is a file a copy, of others the same events.
func backUpHistory(ctx context.Context, from History, path string) (err error) {
	if file, ok := from.(*sqlite.Store); ok {
		return file.Backup(ctx, path)
	}
	to, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	_, err = CopyHistory(ctx, from, to, nil)
	return err
}

func addFile(ctx context.Context, out *tar.Writer, path, name string, made time.Time) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: info.Size(), ModTime: made}); err != nil {
		return err
	}
	_, err = io.Copy(out, &contextReader{ctx, f})
	return err
}

// contextReader stops reading when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// BackupToFile makes a backup under a name that nothing has yet; half a backup never stands there.
func BackupToFile(path string, write func(io.Writer) error) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("backup to %s: something is there already; choose another name", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".backup-")
	if err != nil {
		return fmt.Errorf("backup to %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("backup to %s: %w", path, err), f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// Link fails if the name was taken meanwhile; rename would replace what stands there.
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return errors.Join(os.Remove(f.Name()), f.Close(), syncDir(filepath.Dir(path)))
}

// Restore makes a data directory of a backup. The directory must be missing or empty; it is whole or not there.
func Restore(path, dir string) (err error) {
	dir = filepath.Clean(dir)
	switch entries, err := os.ReadDir(dir); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("restore to %s: %w", dir, err)
	case len(entries) > 0:
		return fmt.Errorf("restore to %s: the directory is not empty; choose another, nothing is ever overwritten", dir)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer f.Close()
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o750); err != nil {
		return fmt.Errorf("restore to %s: %w", dir, err)
	}
	fresh, err := os.MkdirTemp(parent, ".restore-")
	if err != nil {
		return fmt.Errorf("restore to %s: %w", dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(fresh))
		}
	}()
	if err := extract(f, fresh); err != nil {
		return fmt.Errorf("restore from %s: %w", path, err)
	}
	if err := checkRestored(fresh); err != nil {
		return fmt.Errorf("restore from %s: %w", path, err)
	}
	if err := syncDir(fresh); err != nil {
		return fmt.Errorf("restore to %s: %w", dir, err)
	}
	if err := os.Chmod(fresh, 0o750); err != nil {
		return fmt.Errorf("restore to %s: %w", dir, err)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("restore to %s: %w", dir, err)
	}
	if err := os.Rename(fresh, dir); err != nil {
		return fmt.Errorf("restore to %s: %w", dir, err)
	}
	return syncDir(parent)
}

// extract takes the files out of a backup and compares them with its manifest.
func extract(from io.Reader, dir string) error {
	in := tar.NewReader(from)
	var m manifest
	got := map[string]string{}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("not a backup, or cut off: %w", err)
		}
		switch h.Name {
		case manifestFile:
			if err := json.NewDecoder(io.LimitReader(in, 1<<20)).Decode(&m); err != nil {
				return fmt.Errorf("the manifest cannot be read: %w", err)
			}
			if m.Format != 1 {
				return fmt.Errorf("the backup has format %d; this release knows 1", m.Format)
			}
		case HistoryFile, KeysFile:
			sum, err := extractFile(in, filepath.Join(dir, h.Name))
			if err != nil {
				return fmt.Errorf("%s: %w", h.Name, err)
			}
			got[h.Name] = sum
		default:
			return fmt.Errorf("not a backup: it holds %q", h.Name)
		}
	}
	for _, name := range []string{HistoryFile, KeysFile} {
		if got[name] == "" {
			return fmt.Errorf("%s is missing", name)
		}
		if got[name] != m.SHA256[name] {
			return fmt.Errorf("%s is not what was backed up: its SHA-256 differs", name)
		}
	}
	return nil
}

func extractFile(from io.Reader, path string) (sum string, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), from); err != nil {
		return "", errors.Join(err, f.Close())
	}
	return hex.EncodeToString(h.Sum(nil)), errors.Join(f.Sync(), f.Close())
}

// checkRestored opens what was extracted, as a node would.
func checkRestored(dir string) error {
	store, err := sqlite.Open(filepath.Join(dir, HistoryFile), sqlite.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	if err := errors.Join(store.CheckIntegrity(context.Background()), store.Close()); err != nil {
		return err
	}
	keys, err := privacy.Open(filepath.Join(dir, KeysFile), privacy.Options{ReadOnly: true})
	if errors.Is(err, privacy.ErrMasterKey) {
		return nil // the keys are wrapped; whoever serves them has the master key
	}
	if err != nil {
		return err
	}
	return errors.Join(keys.Check(context.Background()), keys.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
