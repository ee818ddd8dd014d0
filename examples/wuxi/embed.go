// Package wuxi is an example registry: the areas of Wuxi down to the community, with invented grids, units and grades. The
// README says what is real.
package wuxi

import "embed"

// Files are levels.csv, areas.csv, units.csv, categories.csv and bans.csv.
//
//go:embed *.csv
var Files embed.FS
