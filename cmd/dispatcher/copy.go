package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/chuishao/dispatch/internal/app"
)

func copyHouse(ctx context.Context, args []string, std app.IO) (err error) {
	f := app.NewFlags("dispatcher copy", `
dispatcher copy --from URL --to URL [--keys-from URL --keys-to URL]

Copies a history into another store, event by event and in the same order, and then compares both. It may be broken off and begun again, and be run
while the original is in use; the last run is made when nobody writes any more. The copy takes no other events until then. Stores are sqlite:PATH,
esdb://…, esdb+discover://… and jetstream://…; keys of data subjects sqlite:PATH and postgres://….`)
	from := f.String("from", "", "`URL` of the history to copy")
	to := f.String("to", "", "`URL` of the copy; made if it is not there")
	keysFrom := f.String("keys-from", "", "`URL` of the keys to copy; none by default")
	keysTo := f.String("keys-to", "", "`URL` of their copy")
	master := f.String("master-key", "", "`FILE` with the key that wraps the keys of data subjects, on both sides; none by default")
	if err := f.Parse(args); err != nil {
		return err
	}
	switch {
	case *from == "" || *to == "" || f.NArg() > 0:
		return app.Usage("want --from URL, --to URL and nothing else")
	case (*keysFrom == "") != (*keysTo == ""):
		return app.Usage("--keys-from and --keys-to go together")
	}
	source, err := app.OpenHistory(ctx, *from, "", app.HistoryOptions{Flag: "--from", ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := app.OpenHistory(ctx, *to, "", app.HistoryOptions{Flag: "--to"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	told := app.Copied{}
	c, err := app.CopyHistory(ctx, source, target, func(c app.Copied) {
		if c.Found+c.Recorded+c.Verified >= told.Found+told.Recorded+told.Verified+50_000 {
			told = c
			fmt.Fprintf(std.Err, "%d found, %d recorded, %d verified\n", c.Found, c.Recorded, c.Verified)
		}
	})
	if err != nil {
		return err
	}
	if *keysFrom != "" {
		// Last: every key that an event needs was there before it.
		if err := app.CopyKeys(ctx, *keysFrom, *keysTo, *master); err != nil {
			return err
		}
	}
	fmt.Fprintf(std.Out, "copied: %d events were there, %d recorded now, %d verified\n", c.Found, c.Recorded, c.Verified)
	return nil
}
