// Package arch has no code, only tests of what the compiler does not check: which package may import which, that rules
// stay pure, that exported names say what they promise, and that links in the documents live.
package arch
