package registry_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
)

// item is a call item of the town without a fault.
func item(code string) *pb.CallItem {
	return &pb.CallItem{
		Code: code, Name: "违建", Class: code[:2], ClassName: "拆违", Lead: "ud1", Co: []string{"us1"}, Fallback: "uc", StartStandard: "制止无效",
		ReportIn: "30 min", Resolve: "3 WD", Category: "01",
	}
}

func TestACallItemHoldsWhileItIsValid(t *testing.T) {
	t.Parallel()
	p := town()
	was, is := item("0201"), item("0201")
	was.ValidTo, is.ValidFrom, is.Resolve = on("2026-01-01"), on("2026-01-01"), ""
	p.CallItems = []*pb.CallItem{was, is}
	if faults := registry.Validate([]*pb.RegistryPiece{p}, nil, now); len(faults) > 0 {
		t.Fatal(faults)
	}
	s := snapshot("v", "2020-01-01", p)
	for _, c := range []struct {
		code, at string
		want     *pb.CallItem
	}{{"0201", "2025-12-31", was}, {"0201", "2026-01-01", is}, {"0202", "2026-01-01", nil}, {"", "2026-01-01", nil}} {
		if got, ok := s.CallItem(c.code, day(c.at)); got != c.want || ok != (c.want != nil) {
			t.Errorf("%s at %s: got %v, want %v", c.code, c.at, got, c.want)
		}
	}
	if got := s.CallItems(); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestWhatIsWrongWithACallItemIsListed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wrong func(*pb.CallItem)
		want  []string
	}{
		"nothing":                     {func(*pb.CallItem) {}, nil},
		"no category and no limits":   {func(i *pb.CallItem) { i.Category, i.ReportIn, i.Resolve, i.Co = "", "", "", nil }, nil},
		"a code that is taken":        {func(i *pb.CallItem) { i.Code = "0101" }, []string{"DUPLICATE_CODE call_items[1].code"}},
		"no code":                     {func(i *pb.CallItem) { i.Code = "" }, []string{"MISSING_FIELD call_items[1].code"}},
		"a code of letters":           {func(i *pb.CallItem) { i.Code = "01AB" }, []string{"BAD_FIELD call_items[1].code"}},
		"another class":               {func(i *pb.CallItem) { i.Class = "02" }, []string{"BAD_FIELD call_items[1].class"}},
		"another name of the class":   {func(i *pb.CallItem) { i.ClassName = "市容" }, []string{"BAD_FIELD call_items[1].class_name"}},
		"no name of the class":        {func(i *pb.CallItem) { i.ClassName = "" }, []string{"MISSING_FIELD call_items[1].class_name"}},
		"no name":                     {func(i *pb.CallItem) { i.Name = "" }, []string{"MISSING_FIELD call_items[1].name"}},
		"no lead":                     {func(i *pb.CallItem) { i.Lead = "" }, []string{"MISSING_FIELD call_items[1].lead"}},
		"an unknown lead":             {func(i *pb.CallItem) { i.Lead = "nobody" }, []string{"UNKNOWN_UNIT call_items[1].lead"}},
		"no fallback":                 {func(i *pb.CallItem) { i.Fallback = "" }, []string{"MISSING_FIELD call_items[1].fallback"}},
		"an unknown unit that helps":  {func(i *pb.CallItem) { i.Co = []string{"us1", "nobody"} }, []string{"UNKNOWN_UNIT call_items[1].co"}},
		"a unit that leads and helps": {func(i *pb.CallItem) { i.Co = []string{"ud1"} }, []string{"DUPLICATE_CODE call_items[1].co"}},
		"too many that help":          {func(i *pb.CallItem) { i.Co = slices.Repeat([]string{"us1"}, 33) }, []string{"BAD_FIELD call_items[1].co"}},
		"an unknown category":         {func(i *pb.CallItem) { i.Category = "nowhere" }, []string{"UNKNOWN_CATEGORY call_items[1].category"}},
		"no standard":                 {func(i *pb.CallItem) { i.StartStandard = "" }, []string{"MISSING_FIELD call_items[1].start_standard"}},
		"a standard of two lines":     {func(i *pb.CallItem) { i.StartStandard = "a\nb" }, []string{"BAD_FIELD call_items[1].start_standard"}},
		"no limit to report in":       {func(i *pb.CallItem) { i.ReportIn = "soon" }, []string{"BAD_FIELD call_items[1].report_in"}},
		"a limit that is none":        {func(i *pb.CallItem) { i.Resolve = "none" }, []string{"BAD_FIELD call_items[1].resolve"}},
		"an end at the start":         {func(i *pb.CallItem) { i.ValidFrom, i.ValidTo = on("2025-01-01"), on("2025-01-01") }, []string{"BAD_FIELD call_items[1].valid_to"}},
	} {
		p := town()
		wrong := item("0102")
		c.wrong(wrong)
		p.CallItems = []*pb.CallItem{item("0101"), wrong}
		var got []string
		for _, f := range registry.Validate([]*pb.RegistryPiece{p}, nil, now) {
			got = append(got, f.Kind+" "+f.Field)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestTheCallItemListIsReadFromItsFile(t *testing.T) {
	t.Parallel()
	const header = "code,name,class,class_name,lead,co,fallback,start_standard,report_in,resolve,category\n"
	c, faults := registry.ReadDir(files(map[string]string{
		"call_items.csv": header + "0101,违建,01,拆违,v,u,u,制止无效,30 min,3 WD,01\n0102,群租,01,拆违,u,,u,反复,,,\n",
	}))
	if faults = append(faults, c.Validate(nil, now)...); len(faults) > 0 {
		t.Fatal(faults)
	}
	first := item("0101")
	first.Lead, first.Co, first.Fallback = "v", []string{"u"}, "u"
	want := []*pb.CallItem{first, {Code: "0102", Name: "群租", Class: "01", ClassName: "拆违", Lead: "u", Fallback: "u", StartStandard: "反复"}}
	if !slices.EqualFunc(c.Piece.CallItems, want, func(a, b *pb.CallItem) bool { return proto.Equal(a, b) }) {
		t.Errorf("got %v, want %v", c.Piece.CallItems, want)
	}
	s := registry.NewSnapshot("v", now, c.Pieces(), nil)
	if i, ok := s.CallItem("0102", now); !ok || i.Name != "群租" {
		t.Errorf("after it was divided for staging: got %v", i)
	}
	c, _ = registry.ReadDir(files(map[string]string{"call_items.csv": header + "0101,违建,01,拆违,nobody,,u,制止无效,,,\n"}))
	if faults := c.Validate(nil, now); len(faults) != 1 || faults[0].Field != "call_items.csv:2:lead" {
		t.Errorf("got %v", faults)
	}
}
