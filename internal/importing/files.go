package importing

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
)

// records is a file of records, open behind its header.
type records struct {
	*rows
	file *os.File
	b    *binding
}

func (r *records) Close() error { return r.file.Close() }

// counted counts the bytes read from a file, compressed if it is.
type counted struct {
	from io.Reader
	n    *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// open reads the header of a file and finds the mapping's columns in it. Errors name the file.
func (m *Mapping) open(path string, read *atomic.Int64) (_ *records, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	// Blocks large enough that a disk or network file system does not set the pace.
	in := bufio.NewReaderSize(counted{f, read}, 256<<10)
	var text io.Reader = in
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		if text, err = gzip.NewReader(in); err != nil {
			return nil, fmt.Errorf("%s: decompress: %w", path, err)
		}
	}
	plain := bufio.NewReaderSize(text, 4096)
	mark, _ := plain.Peek(3)
	switch {
	case bytes.Equal(mark, []byte{0xef, 0xbb, 0xbf}):
		_, _ = plain.Discard(3)
	case bytes.HasPrefix(mark, []byte{0xff, 0xfe}), bytes.HasPrefix(mark, []byte{0xfe, 0xff}):
		return nil, fmt.Errorf("%s: is UTF-16; records must be UTF-8", path)
	}
	rows := newRows(plain, m.delimiter, m.lazy)
	header, err := rows.next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s: is empty; it must begin with a header", path)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	case header.bad != "":
		return nil, fmt.Errorf("%s:%d: the header %s", path, header.line, header.bad)
	}
	names := slices.Clone(header.fields)
	rows.columns = len(names)
	b, err := m.bind(path, names)
	if err != nil {
		return nil, err
	}
	return &records{rows, f, b}, nil
}

// check opens each file and reads its header, so that nothing is imported if one does not fit. It gives the size of all.
func (m *Mapping) check(paths []string) (int64, error) {
	if len(paths) == 0 {
		return 0, errors.New("no files of records given")
	}
	var faults []error
	var size int64
	var seen []os.FileInfo
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("read records: %w", err))
			continue
		case !info.Mode().IsRegular():
			faults = append(faults, fmt.Errorf("%s: is not a regular file", path))
			continue
		case slices.ContainsFunc(seen, func(other os.FileInfo) bool { return os.SameFile(info, other) }):
			faults = append(faults, fmt.Errorf("%s: is given twice", path))
			continue
		}
		seen = append(seen, info)
		size += info.Size()
		var n atomic.Int64
		r, err := m.open(path, &n)
		if err == nil {
			err = r.Close()
		}
		faults = append(faults, err)
	}
	return size, errors.Join(faults...)
}
