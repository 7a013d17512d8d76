// Package problem writes errors as RFC 9457 problem documents, the same from
// every HTTP door of a node.
//
// The noun: a [Problem]. It is made from any error by [From], which keeps the
// code of a *wire.Error; [Write] sends it. The package keeps no state and asks
// nobody.
package problem
