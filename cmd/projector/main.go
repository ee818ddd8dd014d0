// Command projector is everything that reads: it prints reports, replays and verifies histories, and rebuilds views.
package main

import (
	"os"
	_ "time/tzdata" // zones, on machines that have none

	"github.com/chuishao/dispatch/internal/app"
)

var commands = []app.Command{
	{Name: "serve", Summary: "keep views up with a history that dispatchers write", Run: serve},
	{Name: "report", Summary: "print closure rates of a level, or another metric", Run: report},
	{Name: "replay", Summary: "print what happened, as a timeline or as JSON lines", Run: replay},
	{Name: "verify", Summary: "replay everything, check the hash chain, and compare every view with a rebuild", Run: verifyAll},
	{Name: "rebuild", Summary: "build all views from the first event", Run: rebuild},
}

func main() {
	os.Exit(app.Main("projector", "what the history adds up to", os.Args[1:], app.IO{Out: os.Stdout, Err: os.Stderr}, commands...))
}
