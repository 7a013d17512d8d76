//go:build !race

package vnodes

const raceDetector = false
