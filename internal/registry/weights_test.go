package registry_test

import (
	"testing"
	"testing/fstest"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
)

const weightsHeader = "organisation,party_members,residents,response,cooperation,result,by_street,by_community,by_residents,verify_percent\n"

func TestWeightsAreThoseOfTheVersionOrTheDefaults(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"areas.csv":      {Data: []byte("code,name,level,parent_code\n320200000000,无锡市,city,\n")},
		"units.csv":      {Data: []byte("code,name,kind,parent,area\n")},
		"categories.csv": {Data: []byte("code,name,parent,grade\n")},
	}
	snapshot := func() (*registry.Snapshot, []*pb.RegistryFault) {
		content, faults := registry.ReadDir(files)
		if len(faults) == 0 {
			faults = content.Validate(nil, time.Now())
		}
		return registry.NewSnapshot("v", time.Time{}, content.Pieces(), nil), faults
	}
	s, faults := snapshot()
	if len(faults) > 0 || !proto.Equal(s.Weights(), registry.DefaultWeights()) {
		t.Errorf("without a file: got %v, faults %v; want the defaults", s.Weights(), faults)
	}
	files["weights.csv"] = &fstest.MapFile{Data: []byte(weightsHeader + "500,300,200,200,200,600,600,400,0,25\n")}
	s, faults = snapshot()
	if w := s.Weights(); len(faults) > 0 || w.Organisation != 500 || w.Result != 600 || w.ByResidents != 0 || w.VerifyPercent != 25 {
		t.Errorf("got %v, faults %v", w, faults)
	}
	for row, field := range map[string]string{
		"500,300,100,200,200,600,600,400,0,25\n":                                       "weights.csv:2:organisation",
		"500,300,200,200,200,700,600,400,0,25\n":                                       "weights.csv:2:response",
		"500,300,200,200,200,600,600,400,1,25\n":                                       "weights.csv:2:by_street",
		"500,300,200,200,200,600,600,400,0,101\n":                                      "weights.csv:2:verify_percent",
		"500,300,x,200,200,600,600,400,0,1\n":                                          "weights.csv:2:residents",
		"500,300,200,200,200,600,600,400,0,25\n500,300,200,200,200,600,600,400,0,25\n": "weights.csv:3:organisation",
	} {
		files["weights.csv"] = &fstest.MapFile{Data: []byte(weightsHeader + row)}
		if _, faults := snapshot(); len(faults) == 0 || faults[0].Field != field {
			t.Errorf("%q: got %v, want a fault at %s", row, faults, field)
		}
	}
}
