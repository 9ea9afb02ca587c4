package admin

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"mailcrypt/account"
	"mailcrypt/dcrypt"
	"mailcrypt/keycheck"
	"mailcrypt/keys"
	"mailcrypt/mailbox"
)

// List implements Service.
func (l *Local) List(ctx context.Context, r ListRequest) (ListResult, error) {
	var result ListResult
	err := l.on(ctx, r.User, false, func(j *job) error {
		var n *needs
		if r.Count { // before the keys: mail that comes meanwhile may bring its key with it
			var err error
			if n, err = j.count(ctx, nil); err != nil {
				return err
			}
			result.Scan = &n.Scan
		}
		inv, err := j.Keys.Inventory(ctx)
		if err != nil {
			return err
		}
		if err := unknown(r.IDs, inv); err != nil && n == nil {
			return err
		}
		judge := keycheck.NewJudge(inv, nil, j.Keys.Config())
		for _, st := range inv.Keys {
			if j.selected(r.Selection, st) {
				result.Keys = append(result.Keys, j.info(inv, judge, st, n))
			}
		}
		result.Keys = append(result.Keys, j.absent(inv, judge, n, r.Selection)...)
		slices.SortStableFunc(result.Keys, func(a, b KeyInfo) int {
			rank := func(k KeyInfo) int {
				switch {
				case k.User:
					return 0
				case k.Folder != "":
					return 1
				}
				return 2
			}
			return cmp.Or(rank(a)-rank(b), strings.Compare(a.Folder, b.Folder), boolFirst(a.Active, b.Active))
		})
		return nil
	})
	return result, err
}

func boolFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// info describes a stored key; n may be nil.
func (j *job) info(inv *keys.Inventory, judge *keycheck.Judge, st *keys.Stored, n *needs) KeyInfo {
	k := KeyInfo{KeyRef: j.ref(st), Active: st.Active, Seal: sealOf(st.Text), Size: len(st.Text), Public: st.Public() != nil,
		Pending: sealRef(st.Pending), Kept: sealRef(st.Kept)}
	if st.Kept != nil {
		k.KeptUntil = st.KeptUntil.Unix()
	}
	switch {
	case st.Lost:
		k.State = StateLost
	case st.Retired:
		k.State = StateRetired
	}
	if st.Public() != nil {
		k.Curve = "RSA"
		if c, ok := st.Public().Curve(); ok {
			k.Curve = string(c)
		}
		if old, ok := st.Public().OldID(); ok {
			k.OldID = old.String()
		}
	} else if k.Seal.Format == "v1" {
		k.OldID = st.ID
	}
	switch {
	case st.Text != nil && st.Check() != nil:
		k.Problem = st.Check().Error()
	case st.Text == nil:
		k.Problem = "the private half is missing"
	case st.Public() == nil && st.PublicText != nil:
		k.Problem = "the public half is damaged, or another key's"
	case st.Public() == nil && st.Active:
		k.Problem = "it is active, and its public half is missing"
	}
	if st.User {
		for _, other := range inv.Keys {
			if id, ok := other.Wrapper(); ok && !other.User && st.Has(id) {
				k.Wraps++
			}
		}
	} else if id, ok := st.Wrapper(); ok && k.Problem == "" && !judge.WrapperThere(id) {
		k.Problem = "the user key " + id.String() + " that wraps it is not there"
	}
	if n != nil {
		here, elsewhere := n.of(st)
		if st.User || k.Folder == "" {
			here, elsewhere = here+elsewhere, 0
		}
		k.Messages, k.Elsewhere = &here, elsewhere
	}
	return k
}

// absent are rows of the keys that messages need and that are not stored.
func (j *job) absent(inv *keys.Inventory, judge *keycheck.Judge, n *needs, s Selection) []KeyInfo {
	if n == nil || s.UserKeys && len(s.Folders) == 0 && !s.Deleted {
		return nil
	}
	var rows []KeyInfo
	for _, id := range n.ids() {
		stored := slices.ContainsFunc(inv.Keys, func(st *keys.Stored) bool { return st.Text != nil && st.Has(id) })
		if stored || len(s.IDs) > 0 && !slices.Contains(s.IDs, id.String()) {
			continue
		}
		row := KeyInfo{KeyRef: KeyRef{ID: id.String()}, State: StateNeeded, Seal: Seal{By: "missing"}}
		if judge.Configured(id) {
			row.State, row.Seal = StateGlobal, Seal{By: "none"}
		} else {
			row.Problem = "messages need it, and it is not there"
		}
		total := n.total(id)
		row.Messages = &total
		for guid := range n.byKey[id] {
			if row.Folder == "" || j.names[guid] < row.Folder {
				row.Folder, row.GUID = j.names[guid], guid.String()
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// needs is which messages need which keys.
type needs struct {
	Scan  Scan
	byKey map[dcrypt.KeyID]map[mailbox.GUID]int64
	// failed says of a message whose header an error of I/O hid, that nothing can be told.
	failed error
	scan   *account.HeaderScan
}

// count reads the headers of all messages of the folders that want chooses.
func (j *job) count(ctx context.Context, want func(account.NamedFolder) bool) (*needs, error) {
	n := &needs{byKey: map[dcrypt.KeyID]map[mailbox.GUID]int64{}, scan: j.Scan(want)}
	n.scan.Report = func(folder string, done, total int) {
		j.report.report(Progress{What: "reading headers", Place: folder, Done: int64(done), Total: int64(total)})
	}
	_, err := n.round(ctx)
	return n, err
}

// round takes in what is new.
func (n *needs) round(ctx context.Context) (int, error) {
	seen, err := n.scan.Round(ctx, func(h account.StoredHeader) error {
		n.add(h)
		return nil
	})
	n.Scan.Folders = n.scan.Folders
	return seen, err
}

func (n *needs) add(h account.StoredHeader) {
	n.Scan.Messages++
	switch {
	case h.Err != nil:
		n.Scan.Unreadable++
		if isIO(h.Err) && n.failed == nil {
			n.failed = h.Err
		}
	case h.Header == nil:
		n.Scan.Clear++
	default:
		n.Scan.Encrypted++
		for _, r := range h.Header.Recipients {
			if n.byKey[r.ID] == nil {
				n.byKey[r.ID] = map[mailbox.GUID]int64{}
			}
			n.byKey[r.ID][h.Folder.GUID]++
		}
	}
}

// of counts the messages that are encrypted to a key, in its folder and in others.
func (n *needs) of(st *keys.Stored) (here, elsewhere int64) {
	for _, id := range st.IDs() {
		for guid, count := range n.byKey[id] {
			if guid == st.GUID && !st.User {
				here += count
			} else {
				elsewhere += count
			}
		}
	}
	return here, elsewhere
}

func (n *needs) total(id dcrypt.KeyID) (total int64) {
	for _, count := range n.byKey[id] {
		total += count
	}
	return total
}

// ids are those that messages name, in an order that does not change.
func (n *needs) ids() []dcrypt.KeyID {
	ids := make([]dcrypt.KeyID, 0, len(n.byKey))
	for id := range n.byKey {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b dcrypt.KeyID) int { return strings.Compare(a.String(), b.String()) })
	return ids
}
