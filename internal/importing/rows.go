package importing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxRow bounds a row, and with it the memory that a file can take, in bytes.
const maxRow = 256 << 10

// row is a row of a file. Its fields are parts of raw.
type row struct {
	line   int      // of its first line, from 1
	raw    string   // as it stands, without the line end
	fields []string // valid until the next row
	bad    string   // why the row cannot be read; empty if it can
	kind   reason   // the kind of bad
}

// rows reads CSV as RFC 4180 has it. Texts stay as they are, line ends within quotes too. Unlike encoding/csv it keeps the raw
// text of each row, is bounded in memory, and after a row that it cannot read goes on with the next line.
type rows struct {
	from       io.Reader
	comma      byte
	lazy       bool
	columns    int // in the header; 0 until it is read
	buf        []byte
	start, end int
	err        error // of from, once it came
	line       int
	fields     []string
}

func newRows(from io.Reader, comma byte, lazy bool) *rows {
	return &rows{from: from, comma: comma, lazy: lazy, buf: make([]byte, 2*maxRow), line: 1}
}

// fill reads more. It is not to be called with maxRow bytes or more in hand.
func (r *rows) fill() {
	if r.start > 0 {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	n, err := io.ReadAtLeast(r.from, r.buf[r.end:], 1)
	r.end += n
	r.err = err
}

// lineEnd is where the line that begins at offset from ends, line end included, counted from start. It says no if that is
// not in reach: the row is too long, or nothing more can be read.
func (r *rows) lineEnd(from int) (int, bool) {
	for seen := from; ; {
		if i := bytes.IndexByte(r.buf[r.start+seen:r.end], '\n'); i >= 0 {
			return seen + i + 1, seen+i < maxRow
		}
		seen = r.end - r.start
		switch {
		case seen >= maxRow:
			return seen, false
		case r.err != nil:
			// The last line may lack its end.
			return seen, r.err == io.EOF && seen > from
		}
		r.fill()
	}
}

func (r *rows) take(n int) string {
	raw := r.buf[r.start : r.start+n]
	r.line += bytes.Count(raw, []byte{'\n'})
	r.start += n
	return string(trimLineEnd(raw))
}

func trimLineEnd(raw []byte) []byte {
	raw = bytes.TrimSuffix(raw, []byte{'\n'})
	return bytes.TrimSuffix(raw, []byte{'\r'})
}

// next reads the next row that is not blank. An error is io.EOF, or what went wrong with reading; no row comes after it.
func (r *rows) next() (row, error) {
	for {
		at := r.line
		first, ok := r.lineEnd(0)
		switch {
		case first == 0:
			return row{}, r.err
		case !ok && first >= maxRow:
			return r.tooLong(), nil
		case !ok:
			return r.cutOff(first), nil
		}
		if len(trimLineEnd(r.buf[r.start:r.start+first])) == 0 {
			r.take(first)
			continue
		}
		if bytes.IndexByte(r.buf[r.start:r.start+first], '"') < 0 {
			return r.read(at, r.take(first), false), nil
		}
		size, bad := r.recordEnd(first)
		if bad == errCutOff {
			return r.cutOff(r.end - r.start), nil
		}
		if bad == nil {
			// A row of several lines is not believed unless its columns are right: a stray quote would swallow good rows.
			if size == first || r.fits(trimLineEnd(r.buf[r.start:r.start+size])) {
				return r.read(at, r.take(size), true), nil
			}
			bad = errQuotes
		}
		return row{line: at, raw: r.take(first), bad: bad.Error(), kind: badQuoting}, nil
	}
}

var (
	errQuotes  = errors.New("quotes do not match")
	errOpen    = errors.New("a quote is never closed")
	errLongRow = fmt.Errorf("a quote is not closed within %d bytes", maxRow)
	errCutOff  = errors.New("the file ends in the middle of the row")
)

// recordEnd is where the row ends whose first line ends at first.
func (r *rows) recordEnd(first int) (int, error) {
	quoted := false
	for from, to := 0, first; ; {
		var ok bool
		quoted, ok = r.quotes(trimLineEnd(r.buf[r.start+from:r.start+to]), quoted)
		if !ok {
			return 0, errQuotes
		}
		if !quoted {
			return to, nil
		}
		next, ok := r.lineEnd(to)
		switch {
		case !ok && next >= maxRow:
			return 0, errLongRow
		case !ok && r.err != io.EOF:
			return 0, errCutOff
		case !ok:
			return 0, errOpen
		}
		from, to = to, next
	}
}

// quotes walks a line that begins within quotes or at the beginning of a field, and says whether it ends within quotes.
func (r *rows) quotes(line []byte, quoted bool) (bool, bool) {
	for i := 0; ; {
		if !quoted {
			if i >= len(line) {
				return false, true
			}
			if line[i] != '"' {
				n := bytes.IndexByte(line[i:], r.comma)
				field := line[i:]
				if n >= 0 {
					field = line[i : i+n]
				}
				if !r.lazy && bytes.IndexByte(field, '"') >= 0 {
					return false, false
				}
				if n < 0 {
					return false, true
				}
				i += n + 1
				continue
			}
			i++
		}
		n := bytes.IndexByte(line[min(i, len(line)):], '"')
		if n < 0 {
			return true, true
		}
		i += n + 1
		switch {
		case i == len(line):
			return false, true
		case line[i] == '"':
			i++
			quoted = true
		case line[i] == r.comma:
			i++
			quoted = false
		case r.lazy:
			quoted = true
		default:
			return false, false
		}
	}
}

func (r *rows) fits(raw []byte) bool {
	return r.columns == 0 || len(r.split(string(raw))) == r.columns
}

// split cuts a row with quotes into fields. The quotes are known to match.
func (r *rows) split(raw string) []string {
	r.fields = r.fields[:0]
	for {
		if raw == "" || raw[0] != '"' {
			i := strings.IndexByte(raw, r.comma)
			if i < 0 {
				r.fields = append(r.fields, raw)
				return r.fields
			}
			r.fields = append(r.fields, raw[:i])
			raw = raw[i+1:]
			continue
		}
		raw = raw[1:]
		doubled := false
		i := 0
		for {
			i += strings.IndexByte(raw[i:], '"')
			if i+1 == len(raw) || raw[i+1] == r.comma {
				break
			}
			if raw[i+1] == '"' {
				doubled = true
				i++
			}
			i++
		}
		field := raw[:i]
		if doubled {
			field = strings.ReplaceAll(field, `""`, `"`)
		}
		r.fields = append(r.fields, field)
		if i+1 == len(raw) {
			return r.fields
		}
		raw = raw[i+2:]
	}
}

// read makes a row of raw, whose quotes are known to match.
func (r *rows) read(at int, raw string, quotes bool) row {
	got := row{line: at, raw: raw}
	if quotes {
		got.fields = r.split(raw)
	} else {
		r.fields = r.fields[:0]
		for rest := raw; ; {
			i := strings.IndexByte(rest, r.comma)
			if i < 0 {
				r.fields = append(r.fields, rest)
				break
			}
			r.fields = append(r.fields, rest[:i])
			rest = rest[i+1:]
		}
		got.fields = r.fields
	}
	switch {
	case !utf8.ValidString(raw):
		got.bad, got.kind = "is not UTF-8", badText
	case strings.IndexByte(raw, 0) >= 0:
		got.bad, got.kind = "holds a NUL character", badText
	case r.columns > 0 && len(got.fields) != r.columns:
		got.bad, got.kind = fmt.Sprintf("has %d columns, the header has %d", len(got.fields), r.columns), badColumns
	}
	return got
}

// tooLong gives the beginning of a line that is longer than a row may be, and skips its rest.
func (r *rows) tooLong() row {
	got := row{line: r.line, raw: string(r.buf[r.start : r.start+maxRow]), bad: fmt.Sprintf("is longer than %d bytes; only these are kept here", maxRow), kind: tooLong}
	for {
		if i := bytes.IndexByte(r.buf[r.start:r.end], '\n'); i >= 0 {
			r.start += i + 1
			r.line++
			return got
		}
		r.start = r.end
		if r.err != nil {
			return got
		}
		r.fill()
	}
}

// cutOff gives what is left where reading went wrong. It may lack the end of its last field, so it is no row.
func (r *rows) cutOff(n int) row {
	return row{line: r.line, raw: r.take(n), bad: errCutOff.Error(), kind: cutOff}
}
