// Command dispatcher is everything that writes: it serves, imports, loads the registry, plays a demo city, measures, and makes
// and restores backups.
package main

import (
	"os"
	_ "time/tzdata" // zones, on machines that have none

	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/servers"
)

var commands = []app.Command{
	{Name: "serve", Summary: "serve a data directory over gRPC, with its views, metrics and probes", Run: serve},
	{Name: "demo", Summary: "play a day of a city, and serve it", Run: playDemo},
	{Name: "import", Summary: "import other systems' records through a mapping", Run: importRecords},
	{Name: "registry", Summary: "check and load areas, units and categories from CSV files, and calendars and deadline profiles", Run: loadRegistry},
	{Name: "backup", Summary: "write a consistent copy of history and keys, also of a running server", Run: backup},
	{Name: "copy", Summary: "copy a history into another store, and compare both event by event", Run: copyHouse},
	{Name: "restore", Summary: "make a data directory of a backup", Run: restore},
	{Name: "simulate", Summary: "play a year of a city, and hold its figures against what must be true of them", Run: simulate},
	{Name: "bench", Summary: "measure, next to limits measured in the same run", Run: runBench},
	{Name: "faults", Summary: "kill and cut off all that a deployment is made of, under load, and see that nothing is lost", Run: runFaults},
	{Name: "bus", Summary: "print what NATS servers elsewhere need to know of connected systems", Run: printBus},
	{Name: "token", Summary: "print the hash of a bearer token, for the file of principals", Run: hashToken},
}

func main() {
	servers.Main() // a node of a bench or a fault run is this program, run again
	os.Exit(app.Main("dispatcher", "calls become tickets, whistles summon, everything leaves a trace", os.Args[1:], app.IO{Out: os.Stdout, Err: os.Stderr}, commands...))
}
