// Package whole holds the tests of the whole product: they build the two binaries and drive them as a user does, as processes with flags, signals
// and gRPC clients, on disks that fill up, with files that are damaged, and across crashes. There is nothing to import.
package whole
