package registry_test

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
)

// files is a small registry without fault; nil content takes a file away.
func files(changes map[string]string) fstest.MapFS {
	dir := fstest.MapFS{}
	for name, text := range map[string]string{
		"areas.csv":      "code,name,level,parent_code\nc,市,city,\nd,区,district,c\ns,街道,street,d\n",
		"units.csv":      "code,name,kind,parent,area\nu,政府,area,,c\nv,城管局,department,u,d\n",
		"categories.csv": "code,name,parent,grade\n01,市容,,\n0101,垃圾,01,G2\n",
	} {
		dir[name] = &fstest.MapFile{Data: []byte(text)}
	}
	for name, text := range changes {
		if text == "" {
			delete(dir, name)
		} else {
			dir[name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return dir
}

func pack(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

func TestFilesAreReadWhateverTheirForm(t *testing.T) {
	t.Parallel()
	want, faults := registry.ReadDir(files(nil))
	if faults = append(faults, want.Validate(nil, now)...); len(faults) > 0 {
		t.Fatal(faults)
	}
	if len(want.Piece.Levels) != 5 || len(want.Piece.Areas) != 3 || want.Piece.Units[1].Kind != pb.UnitKind_UNIT_KIND_DEPARTMENT || want.Piece.Categories[1].Grade != pb.Grade_GRADE_G2 {
		t.Errorf("got %v", want.Piece)
	}
	plain := string(files(nil)["areas.csv"].Data)
	for name, changes := range map[string]map[string]string{
		"byte order mark": {"areas.csv": "\ufeff" + plain},
		"CRLF":            {"areas.csv": strings.ReplaceAll(plain, "\n", "\r\n")},
		"gzip":            {"areas.csv": "", "areas.csv.gz": pack(plain)},
		"quotes":          {"areas.csv": strings.ReplaceAll(plain, "街道", `"街道"`)},
		"order":           {"areas.csv": "level,parent_code,name,code\ncity,,市,c\ndistrict,c,区,d\nstreet,d,街道,s\n"},
		"no last newline": {"areas.csv": strings.TrimSuffix(plain, "\n")},
		"empty columns":   {"areas.csv": "code,name,level,parent_code,valid_from,valid_to,successors\nc,市,city,,,,\nd,区,district,c,,,\ns,街道,street,d,,,\n"},
		"levels":          {"levels.csv": "name,rank,display_name\ncity,1,市\ndistrict,2,区（县、市）\nstreet,3,街道（镇、园区）\ncommunity,4,社区（村）\ngrid,5,网格\n"},
	} {
		got, faults := registry.ReadDir(files(changes))
		if len(faults) > 0 || !proto.Equal(got.Piece, want.Piece) {
			t.Errorf("%s: got %v, %v", name, got.Piece, faults)
		}
	}
}

func TestValiditiesAndSuccessorsAreRead(t *testing.T) {
	t.Parallel()
	c, faults := registry.ReadDir(files(map[string]string{
		"areas.csv": "code,name,level,parent_code,valid_from,valid_to,successors\nc,市,city,,,,\nd,区,district,c,,,\n" +
			"x,甲,street,d,2020-01-01T00:00:00+08:00,2025-07-01T00:00:00+08:00,y;z\ny,乙,street,d,2025-06-30T16:00:00Z,,\nz,丙,street,d,,,\n",
	}))
	if faults = append(faults, c.Validate(nil, now)...); len(faults) > 0 {
		t.Fatal(faults)
	}
	x := c.Piece.Areas[2]
	if got, want := x.ValidTo.AsTime(), time.Date(2025, 6, 30, 16, 0, 0, 0, time.UTC); !got.Equal(want) || !slices.Equal(x.Successors, []string{"y", "z"}) {
		t.Errorf("got %v", x)
	}
}

func TestWhatACentreLetsHappenIsRead(t *testing.T) {
	t.Parallel()
	c, faults := registry.ReadDir(files(map[string]string{
		"units.csv": "code,name,kind,parent,area,trusted_systems,closes_settled\nu,中心,command_centre,,c,gateway-1 12345,yes\nv,城管局,department,u,d,,\n",
	}))
	if faults = append(faults, c.Validate(nil, now)...); len(faults) > 0 {
		t.Fatal(faults)
	}
	if u, v := c.Piece.Units[0], c.Piece.Units[1]; !slices.Equal(u.TrustedSystems, []string{"gateway-1", "12345"}) || !u.ClosesSettled || len(v.TrustedSystems) > 0 || v.ClosesSettled {
		t.Errorf("got %v, %v", u, v)
	}
	if s := registry.NewSnapshot("v", day("2020-01-01"), c.Pieces(), nil); !s.Wishes() {
		t.Error("nobody wants anything closed")
	}
	_, faults = registry.ReadDir(files(map[string]string{"units.csv": "code,name,kind,parent,area,closes_settled\nu,中心,command_centre,,c,perhaps\n"}))
	if got := listed(faults); !slices.Equal(got, []string{"BAD_FIELD units.csv:2:closes_settled"}) {
		t.Errorf("got %v", got)
	}
}

func TestEveryFaultOfAFileIsListedWithFileLineAndColumn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		changes map[string]string
		want    []string
	}{
		{"nothing there", map[string]string{"areas.csv": "", "units.csv": "", "categories.csv": ""},
			[]string{"MISSING_FIELD areas.csv", "MISSING_FIELD units.csv", "MISSING_FIELD categories.csv", "MISSING_FIELD areas"}},
		{"empty file", map[string]string{"areas.csv": "\n\n"}, []string{"MISSING_FIELD areas.csv", "UNKNOWN_AREA units.csv:2:area", "UNKNOWN_AREA units.csv:3:area"}},
		{"both forms", map[string]string{"units.csv.gz": pack("x")}, []string{"BAD_FIELD units.csv.gz"}},
		{"not gzip", map[string]string{"units.csv": "", "units.csv.gz": "code,name"}, []string{"BAD_FIELD units.csv.gz"}},
		{"gzip that breaks off", map[string]string{"units.csv": "", "units.csv.gz": pack("code,name,kind,parent,area\n")[:25]}, []string{"BAD_FIELD units.csv.gz"}},
		{"columns", map[string]string{"units.csv": "code,name,kind,colour,name\n"},
			[]string{"BAD_FIELD units.csv:1:colour", "DUPLICATE_CODE units.csv:1:name", "MISSING_FIELD units.csv:1:parent", "MISSING_FIELD units.csv:1:area"}},
		{"too few and too many columns", map[string]string{"units.csv": "code,name,kind,parent,area\nu,政府,area,,c\nv,x\nw,城管局,department,u,d,d\n"},
			[]string{"BAD_FIELD units.csv:3", "BAD_FIELD units.csv:4"}},
		{"quotes", map[string]string{"units.csv": "code,name,kind,parent,area\nu,政府,area,,c\nv,a\"b,department,u,d\nw,\"n\",department,u,nowhere\n"},
			[]string{"BAD_FIELD units.csv:3", "UNKNOWN_AREA units.csv:4:area"}},
		{"quote that is not closed", map[string]string{"units.csv": "code,name,kind,parent,area\nu,政府,area,,c\nv,\"b,department,u,d\n"}, []string{"BAD_FIELD units.csv:3"}},
		{"not UTF-8", map[string]string{"units.csv": "code,name,kind,parent,area\nu,\xd5\xfe\xb8\xae,area,,c\n"}, []string{"BAD_FIELD units.csv:2:name"}},
		{"UTF-16", map[string]string{"units.csv": "\xff\xfec\x00o\x00d\x00e\x00"}, []string{"BAD_FIELD units.csv:1:�c�o�d�e�", "MISSING_FIELD units.csv:1:code",
			"MISSING_FIELD units.csv:1:name", "MISSING_FIELD units.csv:1:kind", "MISSING_FIELD units.csv:1:parent", "MISSING_FIELD units.csv:1:area"}},
		{"too long", map[string]string{"units.csv": "code,name,kind,parent,area\nu," + strings.Repeat("x", 5000) + ",area,,c\nv," + strings.Repeat("x", 300) + ",area,u,d\n"},
			[]string{"BAD_FIELD units.csv:2:name", "BAD_FIELD units.csv:3:name"}},
		{"control characters", map[string]string{"units.csv": "code,name,kind,parent,area\nu,a\rb,area,,c\nv,\"a\nb\",department,u,d\nw,n,department,u,nowhere\n"},
			[]string{"BAD_FIELD units.csv:2:name", "BAD_FIELD units.csv:3:name", "UNKNOWN_AREA units.csv:5:area"}},
		{"words", map[string]string{"units.csv": "code,name,kind,parent,area,valid_from\nu,政府,AREA,,c,\nv,x,,u,d,2020-01-01\n",
			"categories.csv": "code,name,parent,grade\n01,市容,,G9\n"},
			[]string{"BAD_FIELD units.csv:2:kind", "BAD_FIELD units.csv:3:valid_from", "BAD_FIELD categories.csv:2:grade", "MISSING_FIELD units.csv:3:kind"}},
		{"levels", map[string]string{"levels.csv": "name,rank\ncity,1\ndistrict,-1\nstreet,1\n"}, []string{"BAD_FIELD levels.csv:3:rank", "DUPLICATE_CODE levels.csv:4:rank"}},
		{"tree", map[string]string{"areas.csv": "code,name,level,parent_code,successors\nc,市,city,,\nd,区,district,c,\ns,街道,street,nowhere,\nt,街道,street,d,q\n"},
			[]string{"ORPHAN areas.csv:4:parent_code", "MISSING_FIELD areas.csv:5:valid_to", "UNKNOWN_AREA areas.csv:5:successors"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			content, faults := registry.ReadDir(files(c.changes))
			faults = append(faults, content.Validate(nil, now)...)
			if got := listed(faults); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
				for _, f := range faults {
					t.Log(f)
				}
			}
			for _, f := range faults {
				if _, err := proto.Marshal(f); err != nil {
					t.Errorf("%q: %v", f.Field, err)
				}
			}
		})
	}
}

// closedDir cannot be read.
type closedDir struct{}

func (closedDir) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: "secret/" + name, Err: fs.ErrPermission}
}

func TestFilesThatCannotBeOpenedAreFaultsWithoutTheirPath(t *testing.T) {
	t.Parallel()
	_, faults := registry.ReadDir(closedDir{})
	if len(faults) != 8 {
		t.Errorf("got %v", faults)
	}
	for _, f := range faults {
		if !strings.Contains(f.Message, "permission") || strings.Contains(f.Message, "secret") {
			t.Errorf("got %v", f)
		}
	}
}

func FuzzReadDir(f *testing.F) {
	dir := files(nil)
	f.Add([]byte("name,rank\ncity,1\n"), dir["areas.csv"].Data, dir["units.csv"].Data, dir["categories.csv"].Data)
	f.Add([]byte("name,rank,display_name\n\"city\r\n"), []byte("\ufeffcode,name,level,parent_code,valid_from,valid_to,successors\nc,\xff,city,,2020-01-01T00:00:00Z,,c;\n"),
		[]byte("code,name,kind,parent,area\nu,x,area,u,c\n"), []byte(pack("code,name,parent,grade\n")))
	f.Fuzz(func(t *testing.T, levels, areas, units, categories []byte) {
		packed := len(categories) > 0 && categories[0] == 0x1f
		dir := fstest.MapFS{"levels.csv": {Data: levels}, "areas.csv": {Data: areas}, "units.csv": {Data: units}}
		if packed {
			dir["categories.csv.gz"] = &fstest.MapFile{Data: categories}
		} else {
			dir["categories.csv"] = &fstest.MapFile{Data: categories}
		}
		content, faults := registry.ReadDir(dir)
		faults = append(faults, content.Validate(nil, now)...)
		for _, fault := range faults {
			if _, err := proto.Marshal(fault); err != nil || fault.Kind == "" || fault.Field == "" || fault.Message == "" {
				t.Errorf("%v: %v", fault, err)
			}
		}
		s := registry.NewSnapshot("v", now, content.Pieces(), nil)
		if len(faults) > 0 {
			return
		}
		for _, a := range s.Areas() {
			at := now
			if a.ValidFrom != nil {
				at = a.ValidFrom.AsTime()
			} else if a.ValidTo != nil {
				at = a.ValidTo.AsTime().Add(-time.Microsecond)
			}
			if path, ok := s.Path(a.Code, at); !ok || path[len(path)-1].Code != a.Code || path[0].Code != s.Unlocated()[0].Code {
				t.Errorf("without fault, but %s has the path %v", a.Code, path)
			}
		}
	})
}
