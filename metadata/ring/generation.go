package ring

// An Epoch has two parts: which life of the cluster's metadata it belongs to, its
// generation, and which change in it. Every epoch of a later generation is newer than
// every epoch of an earlier one, whatever the two have committed, so that whoever
// compares epochs needs to know nothing of generations.
//
//	bits 63 to 40: generation, 0 from birth, +1 for each recovery | bits 39 to 0: change
//
// A Gen is made the same way by a recovery: those of two generations never meet.
const generationShift = 40

// Generation is the generation that e belongs to.
func (e Epoch) Generation() uint64 { return uint64(e) >> generationShift }

// FirstEpoch is the first epoch of a generation.
func FirstEpoch(generation uint64) Epoch { return Epoch(generation<<generationShift | 1) }

// InGeneration is r as a later generation begins with it: the same lists, under an
// epoch and gens that no earlier generation can have reached.
func (r *Ring) InGeneration(generation uint64) *Ring {
	c := r.WithEpoch(FirstEpoch(generation))
	c.Assignments = make([]Assignment, len(r.Assignments))
	for p, a := range r.Assignments {
		a.Gen = Gen(generation<<generationShift) | a.Gen&(1<<generationShift-1)
		c.Assignments[p] = a
	}
	return c
}
