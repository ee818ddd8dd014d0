package bench

import (
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/importing"
)

// mapping is that of the service requests of a large city, as examples/nyc311 has it.
const mapping = `source: nyc311
id: id
time:
  zone: America/New_York
  formats: [rfc3339]
reported: created_at
closed: closed_at
due: due_at
category: category
subcategory: subcategory
agency: agency
status: {column: status, closed: [Closed]}
channel: import
position: {lon: lon, lat: lat}
particulars:
  place: location
  reply: resolution
  note: location_type
levels:
  - {name: borough, column: borough, tree: false}
  - {name: community_board, column: community_board, tree: false}
  - {name: slice, column: slice, tree: false}
`

var recordColumns = []string{
	"id", "slice", "created_at", "closed_at", "due_at", "status", "category", "subcategory", "agency", "borough", "community_board", "board_basis",
	"location_type", "location", "lat", "lon", "resolution_updated_at", "resolution",
}

// dataVariable names the directory of real records, where there is one.
const dataVariable = "CHUISHAO_DATA"

// records is how many records are made where there are no real ones.
func (r *run) records() int { return max(min(r.Tickets/2, 20_000), 100) }

// importing measures records on their way from a file through a mapping and gRPC into the history.
func (r *run) importing(ctx context.Context) error {
	m, err := importing.ParseMapping("nyc311", []byte(mapping))
	if err != nil {
		return err
	}
	what := "real records"
	file := filepath.Join(os.Getenv(dataVariable), "nyc311-sample.csv.gz")
	if _, err := os.Stat(file); os.Getenv(dataVariable) == "" || err != nil || r.Tickets < QuickTickets {
		what, file = "records made like real ones", filepath.Join(r.dir, "records.csv.gz")
		if err := writeRecords(file, r.records()); err != nil {
			return err
		}
	}
	node, into := r.empty, 0
	if node == nil {
		node, into = r.full, r.Tickets
	}
	addr, err := r.serveWriting(node)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	sink, err := importing.NewStreamSink(metadata.NewOutgoingContext(ctx, hotline.metadata), pb.NewImportServiceClient(conn))
	if err != nil {
		return err
	}
	began := time.Now()
	found, err := importing.Run(ctx, m, []string{file}, sink, importing.Options{Quarantine: filepath.Join(r.dir, "quarantine.csv")})
	if err := errors.Join(err, sink.Close()); err != nil {
		return err
	}
	took := time.Since(began)
	if found.Imported == 0 {
		return fmt.Errorf("of %d rows none was imported: %v", found.Rows, found.Reasons)
	}
	r.report.at(into, "import_records_per_second", float64(found.Imported)/took.Seconds(), "1/s", fmt.Sprintf("%d %s, over one stream", found.Imported, what))
	return nil
}

// writeRecords makes a file of records, the same each time.
func writeRecords(path string, n int) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	zip := gzip.NewWriter(f)
	out := csv.NewWriter(zip)
	if err := out.Write(recordColumns); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(11, 13))
	at := time.Date(2024, 12, 31, 5, 0, 0, 0, time.UTC)
	boroughs := []string{"BRONX", "BROOKLYN", "MANHATTAN", "QUEENS", "STATEN ISLAND"}
	categories := [][2]string{
		{"HEAT/HOT WATER", "ENTIRE BUILDING"}, {"Noise - Residential", "Loud Music/Party"}, {"Illegal Parking", "Blocked Hydrant"},
		{"Street Condition", "Pothole"}, {"Blocked Driveway", "No Access"}, {"Water System", "Hydrant Leaking (WC1)"},
	}
	agencies := []string{"HPD", "NYPD", "NYPD", "DOT", "NYPD", "DEP"}
	for i := range n {
		at = at.Add(time.Duration(random.IntN(20)) * time.Second)
		k, b := random.IntN(len(categories)), random.IntN(len(boroughs))
		closed, due, status := "", "", "In Progress"
		if random.IntN(20) > 0 {
			closed, status = at.Add(time.Duration(random.ExpFloat64()*float64(40*time.Hour))).Format(time.RFC3339), "Closed"
		}
		if random.IntN(3) == 0 {
			due = at.Add(72 * time.Hour).Format(time.RFC3339)
		}
		err := out.Write([]string{
			strconv.Itoa(63_000_000 + i), "made", at.Format(time.RFC3339), closed, due, status, categories[k][0], categories[k][1], agencies[k], boroughs[b],
			fmt.Sprintf("%02d %s", 1+random.IntN(12), boroughs[b]), "recorded", "RESIDENTIAL BUILDING",
			fmt.Sprintf("%d WEST %d STREET, %s, %d", 1+random.IntN(999), 1+random.IntN(220), boroughs[b], 10000+random.IntN(1500)),
			strconv.FormatFloat(40.5+random.Float64()/2, 'f', 14, 64), strconv.FormatFloat(-74+random.Float64()/4, 'f', 14, 64), closed,
			"The Department responded to the complaint and with the information available observed no evidence of the violation at that time.",
		})
		if err != nil {
			return err
		}
	}
	out.Flush()
	return errors.Join(out.Error(), zip.Close())
}
