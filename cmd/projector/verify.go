package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/eventstore"
)

func verifyAll(ctx context.Context, args []string, std app.IO) (err error) {
	f := app.NewFlags("projector verify", `
projector verify --data DIR | --store URL [--views URL] | --addr HOST:PORT [--history-only]

Replays everything: checks the hash chain, version gaps, decoding and invariants, rebuilds every view aside and compares it row by row. Names the first bad
event of each stream. Exits with 1 if anything is wrong.`)
	var place app.Place
	place.Flags(f)
	place.DevActor = "person=verify;roles=AUDITOR;unit=-"
	historyOnly := f.Bool("history-only", false, "leave out the views")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return app.Usage("verify takes no argument %q", f.Arg(0))
	}
	if err := place.Check(); err != nil {
		return err
	}
	wrong, events, compared := 0, uint64(0), false
	var views []string
	tell := func(m *pb.VerifyHistoryResponse) error {
		for _, finding := range m.Findings {
			wrong++
			compared = compared || finding.View != ""
			fmt.Fprintln(std.Out, describe(finding))
		}
		events = m.Events
		if m.Done {
			views = m.Views
		} else if len(m.Findings) == 0 {
			fmt.Fprintf(std.Err, "%d events checked\n", m.Events)
		}
		return nil
	}
	if err := runVerify(ctx, &place, *historyOnly, tell, std); err != nil {
		return err
	}
	if wrong > 0 {
		if !*historyOnly && !compared && len(views) == 0 {
			return fmt.Errorf("%d findings in %d events; views were not compared with a rebuild, since the history is damaged", wrong, events)
		}
		if len(views) > 0 {
			fmt.Fprintf(std.Out, "views equal to a rebuild, as far as they have come: %s\n", strings.Join(views, ", "))
		}
		return fmt.Errorf("%d findings in %d events", wrong, events)
	}
	fmt.Fprintf(std.Out, "verified %d events", events)
	if len(views) > 0 {
		fmt.Fprintf(std.Out, "; equal to a rebuild: %s", strings.Join(views, ", "))
	}
	fmt.Fprintln(std.Out)
	return nil
}

func runVerify(ctx context.Context, place *app.Place, historyOnly bool, tell func(*pb.VerifyHistoryResponse) error, std app.IO) (err error) {
	if place.Local() {
		node, err := place.OpenForVerify(ctx, std)
		if err != nil {
			return err
		}
		return errors.Join(verifyHere(ctx, node, historyOnly, tell, std), node.Close())
	}
	conn, err := place.Dial()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	stream, err := pb.NewAuditServiceClient(conn).VerifyHistory(ctx, &pb.VerifyHistoryRequest{HistoryOnly: historyOnly})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := tell(m); err != nil {
			return err
		}
	}
}

func verifyHere(ctx context.Context, node *app.Node, historyOnly bool, tell func(*pb.VerifyHistoryResponse) error, std app.IO) error {
	if !historyOnly {
		if err := node.CatchUp(ctx); err != nil {
			if ctx.Err() != nil {
				return err
			}
			// What is wrong is found below; the views are compared as of where they stand.
			fmt.Fprintf(std.Err, "the views cannot be brought up to date: %v\n", err)
		}
	}
	return node.Verify(ctx, historyOnly, tell)
}

func describe(f *pb.VerifyFinding) string {
	var where []string
	if f.Stream != "" {
		where = append(where, fmt.Sprintf("%s@%d", f.Stream, f.Version))
	}
	if f.Position != "" {
		where = append(where, "position "+f.Position)
	}
	if f.View != "" {
		where = append(where, "view "+f.View)
	}
	return fmt.Sprintf("%s %s: %s", f.Kind, strings.Join(where, " "), f.Message)
}

func rebuild(ctx context.Context, args []string, std app.IO) (err error) {
	f := app.NewFlags("projector rebuild", `
projector rebuild --data DIR | --store URL --views URL [--partitions N]

Builds all views from the first event, beside the old ones, and puts them in their place. Figures are kept in N partitions from then on, whole without --partitions;
where that is another number than before, stop first what serves and keeps up the views, and start it with the new one.`)
	var place app.Place
	place.DataFlags(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	if !place.Local() || f.NArg() > 0 {
		return app.Usage("want --data DIR or --store URL, and nothing else")
	}
	node, err := place.OpenForRebuild(ctx, std)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	names, err := node.Rebuild(ctx, func(p eventstore.Position) { fmt.Fprintf(std.Err, "rebuilt up to position %d\n", p) })
	if err != nil {
		return err
	}
	for _, name := range names {
		fmt.Fprintf(std.Out, "rebuilt %s\n", name)
	}
	return nil
}
