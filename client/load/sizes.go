package load

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Sizes are how many bytes values have: each of its ranges is as likely as the others, and
// so is each size of a range.
type Sizes []sizeRange

type sizeRange struct{ min, max int }

// Size is one size for all values.
func Size(n int) Sizes { return Sizes{{n, n}} }

// ParseSizes reads what String writes: a number, a range, or a list of those, such as
// 100, 100-1000 or 100,16KiB,1MiB.
func ParseSizes(s string) (Sizes, error) {
	var all Sizes
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(part, "-")
		r := sizeRange{}
		var err error
		if r.min, err = parseSize(from); err != nil {
			return nil, err
		}
		r.max = r.min
		if isRange {
			if r.max, err = parseSize(to); err != nil {
				return nil, err
			}
		}
		if r.max < r.min {
			return nil, fmt.Errorf("the range %s ends before it begins", part)
		}
		all = append(all, r)
	}
	return all, nil
}

func parseSize(s string) (int, error) {
	digits, unit := s, 1
	for suffix, u := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20} {
		if d, ok := strings.CutSuffix(s, suffix); ok {
			digits, unit = d, u
		}
	}
	n, err := strconv.ParseUint(digits, 10, 30)
	if err != nil || n*uint64(unit) > 1<<30 {
		return 0, fmt.Errorf("%q is no size: write for example 100, 16KiB or 1MiB", s)
	}
	return int(n) * unit, nil
}

func (s Sizes) String() string {
	parts := make([]string, len(s))
	for i, r := range s {
		parts[i] = strconv.Itoa(r.min)
		if r.max > r.min {
			parts[i] += "-" + strconv.Itoa(r.max)
		}
	}
	return strings.Join(parts, ",")
}

// Min is the smallest size.
func (s Sizes) Min() int {
	if len(s) == 0 {
		return 0
	}
	least := s[0].min
	for _, r := range s {
		least = min(least, r.min)
	}
	return least
}

// Max is the greatest size.
func (s Sizes) Max() int {
	most := 0
	for _, r := range s {
		most = max(most, r.max)
	}
	return most
}

func (s Sizes) draw() int {
	if len(s) == 0 {
		return 0
	}
	r := s[0]
	if len(s) > 1 {
		r = s[rand.IntN(len(s))]
	}
	if r.max > r.min {
		return r.min + rand.IntN(r.max-r.min+1)
	}
	return r.min
}
