package account

import (
	"context"
	"fmt"
	"slices"

	"mailcrypt/metadata"
)

// HasMetadata reports whether annotations may be kept: imap_metadata is on and there is a
// dictionary.
func (l *Login) HasMetadata() bool { return l.set.Metadata }

// Metadata returns annotations of a mailbox, or of the server where the name is "": see
// metadata.Store.Get. The role of a mailbox is its entry /private/specialuse (RFC 6154
// section 5).
func (l *Login) Metadata(ctx context.Context, name string, entries []metadata.Entry, depth int) ([]metadata.Value, error) {
	scope, err := l.metadataScope(ctx, name)
	if err != nil {
		return nil, err
	}
	values, err := l.annotations().Get(ctx, scope, entries, depth)
	if err != nil {
		return nil, err
	}
	use := l.SpecialUse()[canonical(name)]
	at := slices.IndexFunc(values, func(v metadata.Value) bool { return v.Entry == metadata.SpecialUse })
	wanted := slices.Contains(entries, metadata.SpecialUse) ||
		depth != 0 && slices.ContainsFunc(entries, func(e metadata.Entry) bool { return e.Root() && !e.Shared() })
	switch {
	case name == "" || !wanted:
	case at >= 0 && use != "":
		values[at].Data = []byte(use)
	case at >= 0:
		values[at].Data = nil // what Dovecot would not show either
		if depth != 0 {
			values = slices.Delete(values, at, at+1)
		}
	case use != "":
		values = append(values, metadata.Value{Entry: metadata.SpecialUse, Data: []byte(use)})
	}
	return values, nil
}

// SetMetadata changes annotations of a mailbox, or of the server where the name is "", all
// or none. Errors are those of metadata.Store.Set, or wrap metadata.ErrReadOnly.
func (l *Login) SetMetadata(ctx context.Context, name string, values []metadata.Value) error {
	for _, v := range values {
		if name != "" && v.Entry == metadata.SpecialUse ||
			name == "" && (v.Entry == metadata.ServerComment || v.Entry == metadata.ServerAdmin) {
			return fmt.Errorf("account: setting %s: %w", v.Entry, metadata.ErrReadOnly)
		}
	}
	scope, err := l.metadataScope(ctx, name)
	if err != nil {
		return err
	}
	return l.annotations().Set(ctx, scope, values)
}

// MetadataLimits bound the user's annotations.
func (l *Login) MetadataLimits() metadata.Limits { return l.annotations().Limits() }

func (l *Login) annotations() *metadata.Store {
	return metadata.New(l.account.dict, metadata.Limits{})
}

func (l *Login) metadataScope(ctx context.Context, name string) (metadata.Scope, error) {
	if name == "" {
		return metadata.Server(l.account.inbox), nil
	}
	guid, err := l.account.hier.GUID(ctx, name)
	return metadata.Mailbox(guid), err
}
