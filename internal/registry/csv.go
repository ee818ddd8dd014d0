package registry

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// The largest that files may be.
const (
	maxFileBytes = 256 << 20 // uncompressed
	maxCell      = 4 << 10   // bytes
	maxRows      = 2_000_000
)

// table is a file of a registry's directory.
type table struct {
	name     string // without ".csv" and ".gz"
	section  int
	must     []string
	may      []string
	optional bool
	// column gives the column of a message's field where it is called otherwise.
	column map[string]string
	read   func(p *pb.RegistryPiece, r *row)
}

var tables = []table{{
	name: "levels", section: ofLevels, optional: true,
	must: []string{"name", "rank"}, may: []string{"display_name"},
	read: func(p *pb.RegistryPiece, r *row) {
		p.Levels = append(p.Levels, &pb.Level{Name: r.text("name"), Rank: r.rank("rank"), DisplayName: r.text("display_name")})
	},
}, {
	name: "areas", section: ofAreas,
	must: []string{"code", "name", "level", "parent_code"}, may: []string{"valid_from", "valid_to", "successors"},
	column: map[string]string{"parent": "parent_code"},
	read: func(p *pb.RegistryPiece, r *row) {
		a := &pb.Area{
			Code: r.text("code"), Name: r.text("name"), Level: r.text("level"), Parent: r.text("parent_code"),
			ValidFrom: r.instant("valid_from"), ValidTo: r.instant("valid_to"),
		}
		if s := r.text("successors"); s != "" {
			a.Successors = strings.Split(s, ";")
		}
		p.Areas = append(p.Areas, a)
	},
}, {
	name: "units", section: ofUnits,
	must: []string{"code", "name", "kind", "parent", "area"}, may: []string{"line", "valid_from", "valid_to", "trusted_systems", "closes_settled"},
	read: func(p *pb.RegistryPiece, r *row) {
		p.Units = append(p.Units, &pb.Unit{
			Code: r.text("code"), Name: r.text("name"), Kind: oneOf(r, "kind", kinds), Parent: r.text("parent"), Area: r.text("area"),
			Line: r.text("line"), ValidFrom: r.instant("valid_from"), ValidTo: r.instant("valid_to"),
			TrustedSystems: strings.Fields(r.text("trusted_systems")), ClosesSettled: oneOf(r, "closes_settled", yes),
		})
	},
}, {
	name: "categories", section: ofCategories,
	must: []string{"code", "name", "parent", "grade"}, may: []string{"object", "valid_from", "valid_to", "self_solvable"},
	read: func(p *pb.RegistryPiece, r *row) {
		p.Categories = append(p.Categories, &pb.Category{
			Code: r.text("code"), Name: r.text("name"), Parent: r.text("parent"), Grade: oneOf(r, "grade", grades),
			Object: oneOf(r, "object", objects), ValidFrom: r.instant("valid_from"), ValidTo: r.instant("valid_to"),
			SelfSolvable: oneOf(r, "self_solvable", answers),
		})
	},
}, {
	name: "catalogue", section: ofCatalogue, optional: true,
	must: []string{"category", "area", "lead", "co", "fallback", "duty"}, may: []string{"valid_from", "valid_to"},
	read: readCatalogue,
}, bansTable, weightsTable, callItemsTable}

// word is how a value is written in a file.
type word[T any] struct {
	text  string
	value T
}

var kinds = []word[pb.UnitKind]{
	{"area", pb.UnitKind_UNIT_KIND_AREA},
	{"department", pb.UnitKind_UNIT_KIND_DEPARTMENT},
	{"utility", pb.UnitKind_UNIT_KIND_UTILITY},
	{"command_centre", pb.UnitKind_UNIT_KIND_COMMAND_CENTRE},
	{"office", pb.UnitKind_UNIT_KIND_OFFICE},
	{"staffing_office", pb.UnitKind_UNIT_KIND_STAFFING_OFFICE},
	{"justice_office", pb.UnitKind_UNIT_KIND_JUSTICE_OFFICE},
}

var yes = []word[bool]{{"yes", true}}

var grades = []word[pb.Grade]{
	{"G0", pb.Grade_GRADE_G0},
	{"G1", pb.Grade_GRADE_G1},
	{"G2", pb.Grade_GRADE_G2},
	{"G3", pb.Grade_GRADE_G3},
	{"CONSULT", pb.Grade_GRADE_CONSULT},
}

var objects = []word[pb.MatterObject]{
	{"component", pb.MatterObject_MATTER_OBJECT_COMPONENT},
	{"incident", pb.MatterObject_MATTER_OBJECT_INCIDENT},
}

var answers = []word[bool]{{"yes", true}, {"no", false}}

// Content is a registry as its files say it.
type Content struct {
	// Piece is the whole of it. Rows with a fault stand in it as far as they could be read.
	Piece *pb.RegistryPiece

	files   [len(sections)]string // the file of each section; empty if there is none
	lines   [len(sections)][]int  // the line that each entry stands on
	faulted map[string]bool       // the fields that ReadDir has listed already
}

// ReadDir reads a registry from the files levels.csv (without it, the levels are the default ones), areas.csv, units.csv,
// categories.csv and, where they are there, catalogue.csv, bans.csv, weights.csv and call_items.csv of a directory, each plain or with gzip as .csv.gz. It lists
// everything that cannot be read; a fault's
// field is the file, the line, and the column. With any fault the content must not be used but to Validate it, so that
// all that is wrong is known at once.
//
// A file is UTF-8, maybe with a byte order mark, with lines that end in LF or CRLF. Its first line names the columns, in
// any order: for levels name, rank and maybe display_name; for areas code, name, level, parent_code and maybe valid_from,
// valid_to, successors; for units code, name, kind, parent, area and maybe line, valid_from, valid_to, trusted_systems, closes_settled; for
// categories code, name, parent, grade and maybe object, valid_from, valid_to, self_solvable; for the catalogue category, area, lead, co, fallback, duty
// and maybe valid_from, valid_to; for bans code, name, categories and maybe valid_from, valid_to; for call items code, name, class, class_name, lead, co, fallback,
// start_standard, report_in, resolve, category and maybe valid_from, valid_to. Instants are in RFC 3339, successors
// divided by ";", weights in thousandths in one row (see ReviewWeights), co-handlers, a ban's categories and trusted systems by spaces, what is so says yes and what is not nothing, kinds area, department, utility, command_centre, office,
// staffing_office, justice_office, grades G0, G1, G2, G3, CONSULT or nothing, objects component, incident or nothing, and duties
// territorial, functional, utility, enforcement.
func ReadDir(dir fs.FS) (*Content, []*pb.RegistryFault) {
	c := &Content{Piece: new(pb.RegistryPiece), faulted: map[string]bool{}}
	var faults []*pb.RegistryFault
	for i := range tables {
		r := reader{table: &tables[i], content: c}
		r.open(dir)
		faults = append(faults, r.faults...)
	}
	if c.files[ofLevels] == "" {
		c.Piece.Levels = DefaultLevels()
	}
	return c, faults
}

// Pieces is the content divided for staging.
func (c *Content) Pieces() []*pb.RegistryPiece { return Split(c.Piece, PieceBytes) }

var entryField = regexp.MustCompile(`^([a-z_]+)\[(\d+)\]\.([a-z_]+)`)

// Validate is the function of that name for content of files: faults name file, line and column. What ReadDir has listed
// of a field is not said again.
func (c *Content) Validate(previous *Snapshot, at time.Time) []*pb.RegistryFault {
	var faults []*pb.RegistryFault
	for _, f := range Validate([]*pb.RegistryPiece{c.Piece}, previous, at) {
		if m := entryField.FindStringSubmatch(f.Field); m != nil {
			section := slices.Index(sections[:], m[1])
			entry, _ := strconv.Atoi(m[2])
			if section >= 0 && entry < len(c.lines[section]) {
				column := m[3]
				if other, ok := tables[section].column[column]; ok {
					column = other
				}
				if c.faulted[position(c.files[section], c.lines[section][entry], "")] {
					continue // the row as a whole could not be read
				}
				f.Field = position(c.files[section], c.lines[section][entry], column)
			}
		} else if section := slices.Index(sections[:], f.Field); section >= 0 && c.files[section] != "" {
			f.Field = c.files[section]
		}
		if !c.faulted[f.Field] {
			faults = append(faults, f)
		}
	}
	return faults
}

func position(file string, line int, column string) string {
	if column == "" {
		return fmt.Sprintf("%s:%d", file, line)
	}
	return fmt.Sprintf("%s:%d:%s", file, line, column)
}

// reader reads one file.
type reader struct {
	table   *table
	content *Content
	file    string
	columns []string
	faults  []*pb.RegistryFault
}

// row is one line of it.
type row struct {
	*reader
	line  int
	cells []string
}

func (r *reader) add(kind, field, code, format string, args ...any) {
	r.content.faulted[field] = true
	r.faults = append(r.faults, &pb.RegistryFault{Kind: kind, Field: field, Code: quotable(code), Message: fmt.Sprintf(format, args...)})
}

func (r *reader) open(dir fs.FS) {
	plain, packed := r.table.name+".csv", r.table.name+".csv.gz"
	f, err := dir.Open(plain)
	r.file = plain
	second, err2 := dir.Open(packed)
	if err2 == nil {
		defer second.Close()
	}
	switch {
	case err == nil && err2 == nil:
		f.Close()
		r.add(BadField, packed, "", "%s is there too; want one of the two", plain)
		return
	case err == nil:
		defer f.Close()
	case err2 == nil:
		r.file = packed
	case !errors.Is(err, fs.ErrNotExist):
		r.add(BadField, plain, "", "cannot be opened: %v", cause(err))
		return
	case !errors.Is(err2, fs.ErrNotExist):
		r.add(BadField, packed, "", "cannot be opened: %v", cause(err2))
		return
	default:
		if !r.table.optional {
			r.add(MissingField, plain, "", "the file is missing")
		}
		return
	}
	r.content.files[r.table.section] = r.file
	if r.file == plain {
		r.read(f)
		return
	}
	unpacked, err := gzip.NewReader(second)
	if err != nil {
		r.add(BadField, packed, "", "is not gzip: %v", cause(err))
		return
	}
	r.read(unpacked)
}

// cause is an error without the path, which is said already and may be no business of who reads it.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

func (r *reader) read(from io.Reader) {
	limited := &io.LimitedReader{R: from, N: maxFileBytes + 1}
	buffered := bufio.NewReaderSize(limited, 64<<10)
	if mark, err := buffered.Peek(3); err == nil && string(mark) == "\xef\xbb\xbf" {
		_, _ = buffered.Discard(3)
	}
	lines := csv.NewReader(buffered)
	lines.FieldsPerRecord = -1
	header := true
	for rows := 0; ; {
		cells, err := lines.Read()
		if limited.N == 0 {
			r.add(BadField, r.file, "", "a file may have %d bytes unpacked", maxFileBytes)
			return
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if p, ok := errors.AsType[*csv.ParseError](err); ok {
			r.add(BadField, fmt.Sprintf("%s:%d", r.file, p.StartLine), "", "line %d, byte %d: %v", p.Line, p.Column, p.Err)
			if header {
				return
			}
			continue
		}
		if err != nil {
			r.add(BadField, r.file, "", "cannot be read to its end: %v", cause(err))
			return
		}
		line, _ := lines.FieldPos(0)
		if header {
			if header = false; !r.header(line, cells) {
				return
			}
			continue
		}
		if rows++; rows > maxRows {
			r.add(BadField, r.file, "", "a file may have %d rows", maxRows)
			return
		}
		r.row(line, cells)
	}
	if header {
		r.add(MissingField, r.file, "", "the file is empty; its first line names the columns: %s", strings.Join(r.table.must, ","))
	}
}

// header checks the names of the columns.
func (r *reader) header(line int, names []string) bool {
	before := len(r.faults)
	for i, name := range names {
		switch {
		case slices.Contains(names[:i], name):
			r.add(DuplicateCode, position(r.file, line, quotable(name)), "", "column %d has a name that stands before", i+1)
		case !slices.Contains(r.table.must, name) && !slices.Contains(r.table.may, name):
			hint := ""
			if !utf8.ValidString(name) {
				hint = "; the file is not UTF-8"
			}
			r.add(BadField, position(r.file, line, quotable(name)), "", "column %d is unknown%s; want %s and maybe %s", i+1, hint,
				strings.Join(r.table.must, ","), strings.Join(r.table.may, ","))
		}
		if i == 64 {
			break // so many unknown columns say enough
		}
	}
	for _, name := range r.table.must {
		if !slices.Contains(names, name) {
			r.add(MissingField, position(r.file, line, name), "", "the column is missing")
		}
	}
	r.columns = slices.Clone(names)
	return len(r.faults) == before
}

func (r *reader) row(line int, cells []string) {
	if len(cells) != len(r.columns) {
		r.add(BadField, position(r.file, line, ""), cells[0], "the row has %d columns, the header %d", len(cells), len(r.columns))
		// What is there is kept, so that entries below this one are not taken for orphans.
		full := make([]string, len(r.columns))
		copy(full, cells)
		cells = full
	}
	this := row{r, line, cells}
	for i, cell := range cells {
		switch field := position(r.file, line, r.columns[i]); {
		case len(cell) > maxCell:
			r.add(BadField, field, this.key(), "the text is %d bytes long", len(cell))
			cells[i] = ""
		case !utf8.ValidString(cell):
			r.add(BadField, field, this.key(), "the text is not UTF-8")
			cells[i] = strings.ToValidUTF8(cell, string(utf8.RuneError))
		}
	}
	r.table.read(r.content.Piece, &this)
	r.content.lines[r.table.section] = append(r.content.lines[r.table.section], line)
}

// key is the entry's code.
func (r *row) key() string { return r.cells[max(0, slices.Index(r.columns, r.table.must[0]))] }

func (r *row) text(column string) string {
	if i := slices.Index(r.columns, column); i >= 0 {
		return r.cells[i]
	}
	return ""
}

func (r *row) bad(column, format string, args ...any) {
	field := position(r.file, r.line, column)
	if !r.content.faulted[field] {
		r.add(BadField, field, r.key(), format, args...)
	}
}

func (r *row) rank(column string) uint32 {
	n, err := strconv.ParseUint(r.text(column), 10, 31)
	if err != nil || n == 0 {
		r.bad(column, "want a number from 1, not %q", quotable(r.text(column)))
	}
	return uint32(n)
}

func (r *row) instant(column string) *timestamppb.Timestamp {
	text := r.text(column)
	if text == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		r.bad(column, "want an instant such as 2025-07-01T00:00:00+08:00, not %q", quotable(text))
		return nil
	}
	return timestamppb.New(t)
}

// oneOf understands a word. None is the zero value.
func oneOf[T any](r *row, column string, words []word[T]) (value T) {
	text := r.text(column)
	if text == "" {
		return value
	}
	var all []string
	for _, w := range words {
		if w.text == text {
			return w.value
		}
		all = append(all, w.text)
	}
	r.bad(column, "want one of %s, not %q", strings.Join(all, ", "), quotable(text))
	return value
}
