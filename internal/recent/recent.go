// Package recent keeps what was used lately, within a bound, and forgets the rest: two
// generations of a map, of which the older goes when the younger is full. What is asked for is
// young again. That costs less than to know the order of all uses.
package recent

// Generation bounds each of the two.
const Generation = 1 << 14

// A Map remembers at least the last Generation keys used, and at most twice as many. The zero value is
// empty. It is not safe for concurrent use.
type Map[K comparable, V any] struct {
	now, old map[K]V
}

// Get returns what was put under a key, if it is remembered.
func (m *Map[K, V]) Get(k K) (V, bool) {
	if v, ok := m.now[k]; ok {
		return v, true
	}
	v, ok := m.old[k]
	if ok {
		m.Put(k, v)
	}
	return v, ok
}

// Put remembers a value under a key.
func (m *Map[K, V]) Put(k K, v V) {
	if len(m.now) >= Generation {
		m.old, m.now = m.now, nil
	}
	if m.now == nil {
		m.now = map[K]V{}
	}
	m.now[k] = v
}

// Len is how many entries there are; a key that became young again counts twice.
func (m *Map[K, V]) Len() int { return len(m.now) + len(m.old) }
