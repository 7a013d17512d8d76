// Package console is the web console that every node serves at / of its HTTP address: a
// page, its style and its modules, as they are written, with nothing from elsewhere.
//
// The noun: a [Console], which answers for its files. What the page shows and does goes
// through the HTTP API of package admin, like everybody else's requests. The package
// keeps no state and starts no goroutine.
package console
