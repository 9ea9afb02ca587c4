package dovecotindex

// syncTail follows how far the mail itself is known to be synced, over a record that ends at
// end. Records that say so are followed; records that need no syncing are passed, where
// all before them is synced. (Dovecot: log_file_track_sync.)
func syncTail(tail int, r record, end int) int {
	if !r.external() {
		return tail
	}
	if r.kind() == typeHeaderUpdate {
		if v, ok := tailUpdate(r.data); ok {
			if v >= tail && v <= end {
				return v
			}
			return tail
		}
	}
	if tail == r.at {
		return end
	}
	return tail
}

// tailUpdate returns what a header update says of the tail. Dovecot looks at the first
// piece of a record alone.
func tailUpdate(b []byte) (tail int, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	off, n := int(le.Uint16(b)), int(le.Uint16(b[2:]))
	at := hdrLogTail - off
	if at < 0 || at+4 > n || 4+n > len(b) {
		return 0, false
	}
	return int(le.Uint32(b[4+at:])), true
}
