package mdbox

import "context"

// Subscriptions returns the subscribed names in the order of subscribing. Lines that are no
// names here stay in the file and are left out.
func (h *Hierarchy) Subscriptions(ctx context.Context) ([]string, error) {
	keys, err := h.control.Subscribed()
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(keys))
	for _, key := range keys {
		if name, ok := h.names().Decode(key); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// Subscribe adds a name to the subscriptions or takes it out. It need not exist.
func (h *Hierarchy) Subscribe(ctx context.Context, name string, on bool) error {
	f, err := h.folder(name)
	if err != nil {
		return err
	}
	changed, err := h.control.Subscribe(ctx, f.key, on)
	if changed {
		h.watching.wake()
	}
	return err
}
