package importing

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
)

// all reads the rest, and fails unless every line is in exactly one row.
func all(t *testing.T, r *rows) []row {
	t.Helper()
	var got []row
	for {
		row, err := r.next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			return got
		}
		row.fields = slices.Clone(row.fields)
		got = append(got, row)
	}
}

func TestRowsAreReadAsTheyStand(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxRow)
	for _, c := range []struct {
		name, text string
		lazy       bool
		want       string // line:fields|… or line!kind
	}{
		{"plain", "a,b\nc,d\n", false, "1:a|b 2:c|d"},
		{"no last line end", "a,b\nc,d", false, "1:a|b 2:c|d"},
		{"carriage returns", "a,b\r\nc,\"d\"\r\n", false, "1:a|b 2:c|d"},
		{"blank lines", "\n\na,b\n\r\nc,d\n\n", false, "3:a|b 5:c|d"},
		{"quotes", "\"a,\"\"1\"\"\",\"b\nb\"\nc,\n", false, "1:a,\"1\"|b\nb 3:c|"},
		{"empty fields", ",\n\"\",\"\"\n", false, "1:| 2:|"},
		{"columns", "a\na,b,c\na,b\n", false, "1!wrong number of columns 2!wrong number of columns 3:a|b"},
		{"a bare quote", "a\",b\nc,d\n", false, "1!bad quoting 2:c|d"},
		{"a bare quote, lazy", "a\",b\nc,d\"e\n\"f\"g\",h\n", true, "1:a\"|b 2:c|d\"e 3:f\"g|h"},
		{"a stray quote costs its line", "a,\"b\nc,d\ne,f\n", false, "1!bad quoting 2:c|d 3:e|f"},
		{"a stray quote up to another", "a,\"b\nc,d\ne,\"f\"\ng,h\n", false, "1!bad quoting 2:c|d 3:e|f 4:g|h"},
		{"a stray quote that swallows columns", "a,\"b\nc,d\"\ne,\"f,\nx\"y,h\n", false, "1:a|b\nc,d 3!bad quoting 4!bad quoting"},
		{"invalid UTF-8", "a,\xff\nc,d\n", false, "1!no text 2:c|d"},
		{"NUL", "a,\x00\nc,d\n", false, "1!no text 2:c|d"},
		{"too long", long + ",b\nc,d\n", false, "1!too long 2:c|d"},
		{"too long at the end", "c,d\n" + long + long + long, false, "1:c|d 2!too long"},
		{"too long in quotes", "a,\"" + strings.Repeat("x\n", maxRow) + "\n", false, ""},
		{"longest", "a," + long[3:] + "\nc,d\n", false, "1:a|" + long[3:] + " 2:c|d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, from := range []io.Reader{strings.NewReader(c.text), iotest.OneByteReader(strings.NewReader(c.text))} {
				r := newRows(from, ',', c.lazy)
				r.columns = 2
				var got []string
				lines := all(t, r)
				for _, row := range lines {
					if row.bad != "" {
						got = append(got, fmt.Sprintf("%d!%s", row.line, row.kind))
					} else {
						got = append(got, fmt.Sprintf("%d:%s", row.line, strings.Join(row.fields, "|")))
					}
				}
				if c.want == "" {
					// Each line for itself, since the quote opens none of them.
					if len(lines) != maxRow || lines[0].kind != badQuoting || lines[1].kind != badColumns {
						t.Errorf("got %d rows, %q", len(lines), got[:2])
					}
				} else if s := strings.Join(got, " "); s != c.want {
					t.Errorf("got %.300q, want %.300q", s, c.want)
				}
			}
		})
	}
}

func TestWhatIsLeftWhenReadingBreaksOffIsNoRow(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for text, want := range map[string]string{"a,b\nc,d": "c,d", "a,b\nc,\"d\nd": "c,\"d\nd", "a,b\n": ""} {
		r := newRows(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)), ',', false)
		if row, err := r.next(); err != nil || row.bad != "" {
			t.Errorf("%q: got %v, %v", text, row, err)
		}
		if want != "" {
			if row, err := r.next(); err != nil || row.kind != cutOff || row.raw != want {
				t.Errorf("%q: got %v, %v", text, row, err)
			}
		}
		if _, err := r.next(); err != broken {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

// Whatever the bytes: no panic, every byte stands in a row, and what encoding/csv can read is read the same.
func FuzzRows(f *testing.F) {
	for _, seed := range []string{"a,b\nc,d\n", "\"a\"\"\",\"b\r\n\"\r\n", "a\"b,c\n\"d\n", "\xef\xbb\xbfa;\"\"", "\"\n\"\n\n\r\n,\"\"\"", "\"a\"\r\r\nb"} {
		f.Add(seed, false, byte(','))
		f.Add(seed, true, byte(';'))
	}
	f.Fuzz(func(t *testing.T, text string, lazy bool, comma byte) {
		if comma >= 0x7f || strings.IndexByte("\"\r\n\x00", comma) >= 0 {
			return
		}
		ours := newRows(strings.NewReader(text), comma, lazy)
		got := all(t, ours)
		kept := 0
		clean := true
		for _, row := range got {
			kept += len(row.raw)
			clean = clean && row.bad == ""
		}
		if ends := strings.Count(text, "\n") + strings.Count(text, "\r"); kept+ends < len(text) && len(text) < maxRow {
			t.Fatalf("%d of %d bytes stand in rows", kept, len(text))
		}
		std := csv.NewReader(strings.NewReader(text))
		std.Comma, std.LazyQuotes, std.FieldsPerRecord = rune(comma), lazy, -1
		want, err := std.ReadAll()
		// With lazy quotes encoding/csv takes a quote that is never closed as closed at the end.
		if err != nil || !utf8.ValidString(text) || strings.Contains(text, "\x00") || len(text) >= maxRow || lazy && !clean {
			return
		}
		if !clean || len(got) != len(want) {
			t.Fatalf("got %+v, encoding/csv %q", got, want)
		}
		for i := range got {
			for j := range got[i].fields {
				got[i].fields[j] = strings.ReplaceAll(got[i].fields[j], "\r\n", "\n")
			}
			if !slices.Equal(got[i].fields, want[i]) {
				t.Fatalf("row %d: got %q, encoding/csv %q", i, got[i].fields, want[i])
			}
		}
	})
}

// Whatever stands in a row: no panic, and a record is one that can be sent.
func FuzzRecord(f *testing.F) {
	m, err := ParseMapping("m.yaml", []byte(everything))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("1", "2020-01-02T03:04:05Z", "2020-01-02 03:04", "0", "Closed", "yes", "Phone", "120.3", "31.5", "138 0000 0000", "text", "ward")
	f.Add("#2", "9999-12-31T23:59:59-10:00", "-1", "9223372036854775807", " ", "", "", "NaN", "1e400", "+", "", "")
	f.Add("\x7f%", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "", "", "no", "?", "200", "", "call me", "", " ")
	header := []string{"id", "reported", "closed", "due", "status", "flag", "channel", "lon", "lat", "phone", "text", "level"}
	b, err := m.bind("f", header)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id, reported, closed, due, status, flag, channel, lon, lat, phone, text, level string) {
		fields := []string{id, reported, closed, due, status, flag, channel, lon, lat, phone, text, level}
		for _, s := range fields {
			if !utf8.ValidString(s) {
				return // does not come so far
			}
		}
		ids := numbering{}
		first, kind, why := b.record(fields, ids)
		if (first == nil) != (kind != "") || (kind == "") != (why == "") {
			t.Fatalf("got %v, %q, %q", first, kind, why)
		}
		if first == nil {
			return
		}
		second, _, _ := b.record(fields, ids)
		for _, r := range []*record{first, second} {
			for _, name := range []string{r.req.RequestId, r.req.SourceRef} {
				if len(name) < 1 || len(name) > 128 || strings.IndexFunc(name, func(c rune) bool { return c <= ' ' || c >= 0x7f }) >= 0 {
					t.Errorf("%q is no reference", name)
				}
			}
			for _, ts := range []interface{ CheckValid() error }{r.req.OccurredAt, r.req.ClosedAt, r.req.DueAt} {
				if err := ts.CheckValid(); err != nil && ts == interface{ CheckValid() error }(r.req.OccurredAt) {
					t.Error(err)
				}
			}
			if (strings.TrimSpace(closed) == "") != (r.req.ClosedAt == nil) || (strings.TrimSpace(due) == "") != (r.req.DueAt == nil) {
				t.Errorf("a time was lost: %v", &r.req)
			}
			if _, err := proto.Marshal(&r.req); err != nil {
				t.Error(err)
			}
			for _, kind := range r.req.Oddities {
				if !slices.Contains(m.Kinds(), kind) {
					t.Errorf("unknown kind %s", kind)
				}
			}
		}
		if first.req.SourceRef == second.req.SourceRef || first.req.RequestId == second.req.RequestId {
			t.Errorf("two rows are both %s", first.req.SourceRef)
		}
	})
}

const everything = `
source: test
id: id
time: {zone: Asia/Shanghai, formats: [rfc3339, "2006-01-02 15:04", datetime, date, unix, unix_ms]}
reported: reported
closed: closed
due: due
status: {column: status, closed: [Closed]}
on_time: {column: flag, yes: ["yes"], no: ["no"]}
channel: {column: channel, values: {Phone: hotline}, default: web}
position: {lon: lon, lat: lat, datum: gcj02}
particulars: {text: text, note: [text, level]}
petitioner: {phone: phone}
levels:
  - {name: ward, column: level, tree: true}
  - {name: board, column: level, tree: false}
`

func TestNoTwoIDsBecomeOneReference(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	ids := numbering{}
	for _, id := range []string{"a", "a", "a#2", "a%232", "a#", "a#x", "a#2x", "#2", "a b", "a%20b", "é", "%C3%A9", strings.Repeat("x", 128), strings.Repeat("x", 129),
		strings.Repeat("x", 130), strings.Repeat("é", 100), " a", "a "} {
		ref, _ := ids.ref(id)
		if other, twice := seen[ref]; twice {
			t.Errorf("%q and %q are both %s", id, other, ref)
		}
		if len(ref) > 128 {
			t.Errorf("%s has %d bytes", ref, len(ref))
		}
		seen[ref] = id
	}
	for ref, id := range map[string]string{"a": "a", "a#2": "a", "a%232": "a#2", "a#": "a#", "a#2x": "a#2x", "a%20b": "a b", "%C3%A9": "é", "%25C3%25A9": "%C3%A9"} {
		if seen[ref] != id {
			t.Errorf("%s is %q, want %q", ref, seen[ref], id)
		}
	}
}
