//go:build race

package view_test

// slow is by how many times fewer rounds are played of what one goroutine makes up, asks and counts again. The race detector finds nothing in the later rounds that was not in the first, and
// each takes many times as long; CI plays all of them without it.
const slow = 4
