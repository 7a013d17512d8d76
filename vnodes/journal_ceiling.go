package vnodes

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

// The clock's ceiling is under ceilingKey. Each time that the clock is set back it gets
// a life of its own, and the ceiling of life n is under ceilingKey/n: those of earlier
// ones stay, and do not count any more.

// ceilingOf is the key of a life's ceiling.
func ceilingOf(life uint64) string {
	if life == 0 {
		return ceilingKey
	}
	return ceilingKey + "/" + strconv.FormatUint(life, 10)
}

// loadCeiling checks a ceiling that was read, and notes the clock's life. Other keys are
// none of its business.
func (j *Journal) loadCeiling(key string, value []byte) error {
	text, later := strings.CutPrefix(key, ceilingKey+"/")
	if key != ceilingKey && !later {
		return nil
	}
	if len(value) != 8 {
		return fmt.Errorf("%s of %d bytes: %w", key, len(value), ErrCorrupt)
	}
	if !later {
		return nil
	}
	life, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", key, ErrCorrupt, err)
	}
	j.life = max(j.life, life)
	return nil
}

// Ceiling is the highest ceiling set in this life of the clock, 0 if none.
func (j *Journal) Ceiling() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return decodeCeiling(j.values[ceilingOf(j.life)])
}

func decodeCeiling(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// SetCeiling returns when the ceiling is durably at least c.
func (j *Journal) SetCeiling(c uint64) error { return j.setCeiling(j.Life(), c) }

func (j *Journal) setCeiling(life, c uint64) error {
	return j.change(ceilingOf(life), binary.BigEndian.AppendUint64(nil, c))
}

// Rewind begins another life of the clock, with the ceiling c. It must not be called
// beside SetCeiling.
func (j *Journal) Rewind(c uint64) error {
	life := j.Life() + 1
	if err := j.setCeiling(life, c); err != nil {
		return err
	}
	j.mu.Lock()
	j.life = life
	j.mu.Unlock()
	return nil
}

// passedKey's value, u64, is what Passed says.
const passedKey = "passed"

// Passed is the time that no life of the clock issues, nor anything below it.
func (j *Journal) Passed() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return decodeCeiling(j.values[passedKey])
}

// Pass returns when Passed is durably at least t.
func (j *Journal) Pass(t uint64) error {
	return j.change(passedKey, binary.BigEndian.AppendUint64(nil, t))
}

// Life is how often the clock was set back.
func (j *Journal) Life() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.life
}

// keepCeiling makes each ceiling in changes, and what was passed, at least what is there before it.
// The caller holds mu.
func (j *Journal) keepCeiling(changes []journalChange) []journalChange {
	highest := make(map[string][]byte)
	for i := range changes {
		c := &changes[i]
		if c.key != ceilingKey && c.key != passedKey && !strings.HasPrefix(c.key, ceilingKey+"/") {
			continue
		}
		if highest[c.key] == nil {
			highest[c.key] = j.values[c.key]
		}
		if decodeCeiling(c.value) < decodeCeiling(highest[c.key]) {
			c.value = highest[c.key]
		}
		highest[c.key] = c.value
	}
	return changes
}

// actor is what Tx.Actor says of the copy id: another one in each life of the clock,
// because a copy's times may come again in the next. It is never 0.
func (m *Manager) actor(id uint64) uint64 {
	if m.cfg.Actor != nil {
		id = m.cfg.Actor(id)
	}
	life := m.journal.Life()
	if life == 0 {
		return id
	}
	h := fnv.New64a()
	_ = binary.Write(h, binary.BigEndian, [2]uint64{id, life}) // a hash takes everything
	return max(h.Sum64(), 1)
}
