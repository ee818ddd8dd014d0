package main

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	"github.com/chuishao/dispatch/internal/app"
)

// withServer connects to the running server, or opens the data directory and serves it to this process alone for as long as do takes.
func withServer(ctx context.Context, place *app.Place, std app.IO, do func(*grpc.ClientConn) error) error {
	return connect(ctx, place, std, func(*app.Node) error { return nil }, do)
}

// withViews is withServer with the views of a data directory brought up to date first.
func withViews(ctx context.Context, place *app.Place, std app.IO, do func(*grpc.ClientConn) error) error {
	return connect(ctx, place, std, func(node *app.Node) error {
		err := node.CatchUp(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		return fmt.Errorf("the views cannot be brought up to date; projector verify says what is wrong: %w", err)
	}, do)
}

func connect(ctx context.Context, place *app.Place, std app.IO, prepare func(*app.Node) error, do func(*grpc.ClientConn) error) (err error) {
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
	if err := prepare(node); err != nil {
		return err
	}
	return node.ServeOne(ctx, do)
}
