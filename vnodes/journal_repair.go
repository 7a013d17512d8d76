package vnodes

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// repairPrefix + name of a slot's file: JSON repairNote. As long as it is there
// the slot is catching: its file is damaged, or not yet whole again.
const repairPrefix = "repair/"

// repairStage is how far the rebuilding of a slot is.
type repairStage string

const (
	repairFound  repairStage = ""       // not noted: the file is damaged, and the slot serves what it can
	repairAside  repairStage = "aside"  // the file is on its way out of the way
	repairFilled repairStage = "filled" // a new file takes effects, and the records of the other replicas
)

// repairNote is what a node must not forget of a slot that is rebuilt.
type repairNote struct {
	Stage  repairStage `json:"stage"`
	Reason string      `json:"reason"`
	Since  time.Time   `json:"since"`
}

// putRepair writes n down for the slot with the file name, in place of an earlier note.
func (j *Journal) putRepair(name string, n repairNote) error {
	b, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("note of the rebuilding of %s: %w", name, err)
	}
	return j.change(repairPrefix+name, b)
}

// deleteRepair forgets the note for name; it is no error if there is none.
func (j *Journal) deleteRepair(name string) error { return j.change(repairPrefix+name, nil) }

// repairs is all notes, by the name of the slot's file.
func (j *Journal) repairs() (map[string]repairNote, error) {
	all := make(map[string]repairNote)
	var errs []error
	for _, name := range j.list(repairPrefix) {
		j.mu.Lock()
		b := j.values[repairPrefix+name]
		j.mu.Unlock()
		var n repairNote
		if err := json.Unmarshal(b, &n); err != nil {
			errs = append(errs, fmt.Errorf("note of the rebuilding of %s: %w: %w", name, ErrCorrupt, err))
		}
		all[name] = n
	}
	return all, errors.Join(errs...)
}
