//go:build race

package view_test

// underRace is whether the race detector watches: it finds nothing in what one goroutine does, and takes twenty times as long.
const underRace = true
