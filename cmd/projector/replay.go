package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
)

func replay(ctx context.Context, args []string, std app.IO) (err error) {
	f := app.NewFlags("projector replay", `
projector replay --data DIR | --addr HOST:PORT  [--ticket ID | --area CODE | --after POSITION] [--until RFC3339] [--format text|json]

Prints what happened in the order it was recorded: of one ticket with its refused commands and reveals, of an area and what lies below it, or everything after a
position. Sealed parts are left out. --until leaves out what happened after that instant.`)
	var place app.Place
	place.Flags(f)
	place.DevActor = "person=replay;roles=AUDITOR;unit=-"
	ticket := f.String("ticket", "", "`ID` of a ticket or whistle, or its name")
	area := f.String("area", "", "`CODE` of an area")
	after := f.String("after", "", "`POSITION` as an earlier replay printed it")
	until := f.String("until", "", "`TIME` in RFC 3339")
	format := f.String("format", "text", "`FORMAT`: text or json (a line an event)")
	zoneName := f.String("zone", "Asia/Shanghai", "`ZONE` that text shows times in")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return app.Usage("replay takes no argument %q", f.Arg(0))
	}
	if *format != "text" && *format != "json" {
		return app.Usage("--format %q: want text or json", *format)
	}
	zone, err := time.LoadLocation(*zoneName)
	if err != nil {
		return app.Usage("--zone: %v", err)
	}
	if err := place.Check(); err != nil {
		return err
	}
	q := &pb.StreamHistoryRequest{Name: *ticket, Area: *area, After: *after}
	if q.Name != "" && !strings.Contains(q.Name, "/") {
		q.Name = "tickets/" + q.Name
	}
	if *until != "" {
		t, err := time.Parse(time.RFC3339, *until)
		if err != nil {
			return app.Usage("--until %q: want a time like 2025-03-05T09:00:00+08:00", *until)
		}
		q.OccurredUntil = timestamppb.New(t)
	}
	return withServer(ctx, &place, std, func(conn *grpc.ClientConn) error {
		stream, err := pb.NewAuditServiceClient(conn).StreamHistory(ctx, q)
		if err != nil {
			return err
		}
		for {
			e, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := printEvent(std.Out, e, *format, zone); err != nil {
				return err
			}
		}
	})
}

func printEvent(w io.Writer, e *pb.HistoryEvent, format string, zone *time.Location) error {
	if format == "json" {
		var data json.RawMessage
		if e.Json != "" {
			data = json.RawMessage(e.Json)
		}
		line, err := json.Marshal(map[string]any{
			"position": e.Position, "stream": e.Stream, "version": e.Version, "id": e.Id, "type": e.Type,
			"occurred_at": e.OccurredAt.AsTime().Format(time.RFC3339Nano), "recorded_at": e.RecordedAt.AsTime().Format(time.RFC3339Nano),
			"actor": actor(e.Actor), "request_id": e.RequestId, "caused_by": e.CausedBy, "data": data, "hash": e.Hash,
		})
		if err != nil {
			return fmt.Errorf("print event %s@%d: %w", e.Stream, e.Version, err)
		}
		_, err = fmt.Fprintf(w, "%s\n", line)
		return err
	}
	late := ""
	if d := e.RecordedAt.AsTime().Sub(e.OccurredAt.AsTime()); d >= time.Second && e.Type != "RecordImported" && e.Type != "ImportedRecordClosed" {
		late = fmt.Sprintf(" (recorded %s later)", d.Round(time.Second))
	}
	_, err := fmt.Fprintf(w, "%-8s %s  %s@%d  %-24s %s %s %s%s  %s\n", e.Position, e.OccurredAt.AsTime().In(zone).Format("2006-01-02 15:04:05 -0700"),
		e.Stream, e.Version, e.Type, e.Actor.GetPerson(), strings.TrimPrefix(e.Actor.GetRole().String(), "ROLE_"), e.Actor.GetUnit(), late, e.Json)
	return err
}

func actor(a *pb.Actor) json.RawMessage {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(a)
	if err != nil {
		return json.RawMessage("null")
	}
	return text
}
