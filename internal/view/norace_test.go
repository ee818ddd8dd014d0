//go:build !race

package view_test

const slow = 1
