package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
)

func stamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }

func backup(ctx context.Context, args []string, std app.IO) error {
	f := app.NewFlags("dispatcher backup", `
dispatcher backup --data DIR | --addr HOST:PORT  --to FILE

Writes a consistent copy of history and keys to a new file, while the server works. Guard it as the data itself: it holds the keys of data
subjects. Views are not in it; they are built again.`)
	var place app.Place
	place.Flags(f)
	place.DevActor = "person=backup;roles=AUDITOR;unit=-"
	to := f.String("to", "", "`FILE` to write; must not be there")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *to == "" || f.NArg() > 0 {
		return app.Usage("want --to FILE and nothing else")
	}
	if err := place.Check(); err != nil {
		return err
	}
	if err := backupTo(ctx, &place, *to, std); err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "backup %s\n", *to)
	return nil
}

func backupTo(ctx context.Context, place *app.Place, to string, std app.IO) (err error) {
	if place.Addr != "" {
		return app.BackupToFile(to, func(w io.Writer) error { return fetchBackup(ctx, place, w) })
	}
	// First, since it clears away unfinished backups.
	node, err := place.OpenData(ctx, std)
	if err != nil {
		return err
	}
	return errors.Join(app.BackupToFile(to, func(w io.Writer) error { return node.Backup(ctx, w) }), node.Close())
}

func fetchBackup(ctx context.Context, place *app.Place, w io.Writer) (err error) {
	conn, err := place.Dial()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	stream, err := pb.NewAuditServiceClient(conn).Backup(ctx, &pb.BackupRequest{})
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
		if _, err := w.Write(m.Chunk); err != nil {
			return err
		}
	}
}

func restore(_ context.Context, args []string, std app.IO) error {
	f := app.NewFlags("dispatcher restore", `
dispatcher restore --from FILE --data DIR

Makes a data directory of a backup. DIR must be missing or empty. The copy is compared with the backup's own check sums and opened once before it
is put in place; projector verify --data DIR then proves it event by event.`)
	from := f.String("from", "", "`FILE` that a backup was written to")
	data := f.String("data", "", "data `DIR`ectory to make")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *from == "" || *data == "" || f.NArg() > 0 {
		return app.Usage("want --from FILE, --data DIR and nothing else")
	}
	if err := app.Restore(*from, *data); err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "restored %s\n", *data)
	return nil
}
