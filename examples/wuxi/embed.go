// Package wuxi is an example registry: the areas of Wuxi down to the community, with invented grids, units and grades. The
// README says what is real.
package wuxi

import "embed"

// Files are levels.csv, areas.csv, units.csv, categories.csv, catalogue.csv, bans.csv and call_items.csv.
//
//go:embed *.csv
var Files embed.FS
