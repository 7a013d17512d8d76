package load

import (
	"math"
	"math/rand/v2"
)

// zipf draws numbers below n: k with a probability in proportion to 1/(k+1)^e, for any e
// above 0; math/rand's has e above 1 only. It is rejection-inversion, from Hörmann and
// Derflinger, "Rejection-inversion to generate variates from monotone discrete
// distributions", 1996: about one draw and a quarter for a number, and no table.
type zipf struct {
	n           int
	e           float64
	first, last float64 // of the integral's range
	near        float64 // a number this near to its draw is accepted at once
}

func newZipf(n int, e float64) *zipf {
	z := &zipf{n: n, e: e}
	z.first = z.integral(1.5) - 1
	z.last = z.integral(float64(n) + 0.5)
	z.near = 2 - z.inverse(z.integral(2.5)-z.density(2))
	return z
}

func (z *zipf) draw() int {
	for {
		u := z.last + rand.Float64()*(z.first-z.last)
		x := z.inverse(u)
		k := min(max(math.Floor(x+0.5), 1), float64(z.n))
		if k-x <= z.near || u >= z.integral(k+0.5)-z.density(k) {
			return int(k) - 1
		}
	}
}

// density is x^-e.
func (z *zipf) density(x float64) float64 { return math.Exp(-z.e * math.Log(x)) }

// integral is one of the density: (x^(1-e) - 1) / (1-e), and ln x where e is 1.
func (z *zipf) integral(x float64) float64 {
	log := math.Log(x)
	t := (1 - z.e) * log
	if math.Abs(t) < 1e-8 {
		return log * (1 + t/2)
	}
	return log * math.Expm1(t) / t
}

// inverse is that of integral.
func (z *zipf) inverse(y float64) float64 {
	t := max((1-z.e)*y, -1)
	if math.Abs(t) < 1e-8 {
		return math.Exp(y * (1 - t/2))
	}
	return math.Exp(y * math.Log1p(t) / t)
}
