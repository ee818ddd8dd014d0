package rpc

import (
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/registry"
)

func TestALoadedCatalogueIsCountedAndInForce(t *testing.T) {
	t.Parallel()
	city, conn, _ := openCity(t)
	content, faults := registry.ReadDir(wuxi.Files)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	entries := content.Piece.Catalogue
	load := func(version string, entries []*pb.CatalogueEntry) *pb.LoadRegistryResponse {
		t.Helper()
		content.Piece.Catalogue = entries
		stream, err := pb.NewRegistryServiceClient(conn).LoadRegistry(acting(t.Context(), dispatchtest.CityCentre, "AUDITOR"))
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range content.Pieces() {
			m := &pb.LoadRegistryRequest{Piece: p}
			if i == 0 {
				m.Version, m.RequestId = version, version
			}
			if err := stream.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		answer, err := stream.CloseAndRecv()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	if got := load("two", entries[:1]); got.Catalogue != 1 || len(got.Faults) > 0 || got.ConsistencyToken == "" {
		t.Errorf("got %v", got)
	}
	if got := city.Registry(); got.Version() != "two" || len(got.CatalogueEntries()) != 1 {
		t.Errorf("got %d entries in version %s", len(got.CatalogueEntries()), got.Version())
	}
	if got := load("three", append(entries[:1:1], entries[0])); got.Catalogue != 2 || len(got.Faults) != 1 || got.Faults[0].Field != "catalogue[1].duty" || got.Faults[0].Kind != registry.DuplicateCode {
		t.Errorf("got %v", got)
	}
	if got := city.Registry().Version(); got != "two" {
		t.Errorf("got version %s in force after a load with faults", got)
	}
}
