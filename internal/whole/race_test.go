//go:build race

package whole

// slow is by how much less is tried of what goes on inside this process: under the race detector the engine, which is all Go, is that much slower.
const slow = 6
