package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/bus"
	"github.com/chuishao/dispatch/internal/principal"
)

func printBus(_ context.Context, args []string, std app.IO) error {
	f := app.NewFlags("dispatcher bus", `
dispatcher bus --principals FILE

Prints the accounts, users and permissions that NATS servers elsewhere need in their configuration, so that the connected systems of the file read their own part of the bus
and nothing else. Passwords are left to those servers' environment. See docs/BUS.md.`)
	file := f.String("principals", "", "`FILE` of who may call")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *file == "" || f.NArg() > 0 {
		return app.Usage("want --principals FILE and nothing else")
	}
	log := slog.New(slog.NewTextHandler(std.Err, nil))
	known, err := principal.Open(*file, func(err error) { log.Error("principals", "error", err) })
	if err != nil {
		return err
	}
	grants, err := bus.Grants(known)
	if err != nil {
		return err
	}
	fmt.Fprint(std.Out, bus.Config(grants))
	return nil
}
