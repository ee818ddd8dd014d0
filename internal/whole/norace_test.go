//go:build !race

package whole

const slow = 1
