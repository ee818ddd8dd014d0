package main

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	"github.com/chuishao/dispatch/internal/app"
)

// withServer connects to the running server, or opens the data directory, brings its views up to date, and serves it to this process alone for as
// long as do takes.
func withServer(ctx context.Context, place *app.Place, std app.IO, do func(*grpc.ClientConn) error) (err error) {
	if place.Addr != "" {
		conn, err := place.Dial()
		if err != nil {
			return err
		}
		return errors.Join(do(conn), conn.Close())
	}
	node, err := place.OpenData(ctx, std)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	if err := node.CatchUp(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		// verify says what is wrong; a report says how far its views are.
		fmt.Fprintf(std.Err, "the views cannot be brought up to date: %v\n", err)
	}
	return node.ServeOne(ctx, do)
}
