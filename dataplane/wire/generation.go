package wire

import "fmt"

// Generation names one life of a cluster's metadata: N counts the recoveries since
// birth, ID tells recoveries of the same number apart. Nodes of different generations
// do not speak to each other, but to say which they are of.
type Generation struct {
	N  uint64 `json:"n"`
	ID string `json:"id"`
}

// String is g for people.
func (g Generation) String() string {
	if g.ID == "" {
		return fmt.Sprint(g.N)
	}
	return fmt.Sprintf("%d (%s)", g.N, g.ID)
}
