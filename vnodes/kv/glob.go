package kv

// globMatch reports whether name matches pattern by the rules of Redis: * any
// run of bytes, ? any byte, [a-z] and [^a-z] one of or none of a set, \ takes the
// next byte as it is. A set without its ] extends to the pattern's end. It takes
// time in proportion to the two lengths' product at most.
func globMatch(pattern, name []byte) bool {
	p, n := 0, 0
	star, mark := -1, 0 // the last *, and how much of name it has taken
	for n < len(name) {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, n
			p++
			continue
		}
		if p < len(pattern) {
			if ok, width := globByte(pattern[p:], name[n]); ok {
				p += width
				n++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, n = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// globByte matches the first element of pattern, which is no *, with c, and says
// how long that element is.
func globByte(pattern []byte, c byte) (ok bool, width int) {
	switch pattern[0] {
	case '?':
		return true, 1
	case '[':
		return globSet(pattern, c)
	case '\\':
		if len(pattern) > 1 {
			return pattern[1] == c, 2
		}
	}
	return pattern[0] == c, 1
}

// globSet matches the set that pattern begins with.
func globSet(pattern []byte, c byte) (ok bool, width int) {
	i := 1
	not := i < len(pattern) && pattern[i] == '^'
	if not {
		i++
	}
	for i < len(pattern) && pattern[i] != ']' {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		lo, hi := pattern[i], pattern[i]
		if i+2 < len(pattern) && pattern[i+1] == '-' && pattern[i+2] != ']' {
			hi = pattern[i+2]
			lo, hi = min(lo, hi), max(lo, hi)
			i += 2
		}
		ok = ok || lo <= c && c <= hi
		i++
	}
	return ok != not, min(i+1, len(pattern))
}
