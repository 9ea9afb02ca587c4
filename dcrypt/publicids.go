package dcrypt

// PublicIDs returns the IDs that ParsePublicKey would give the key of a text, without the square root
// on the curve that it takes to read one; of an RSA key old is zero. That there is such a key is not
// certain: of the point only its form is looked at. Errors are those of ParsePublicKey.
func PublicIDs(text []byte) (id, old KeyID, err error) {
	info, err := Inspect(text)
	if err != nil {
		return id, old, err
	}
	var curve *curveInfo
	var encoded []byte
	switch f := splitKeyText(text); {
	case info.Private:
		return id, old, badKey("private key where a public key is expected")
	case info.Format == FormatV1:
		if curve, err = curveV1(f[1]); err == nil {
			encoded, err = unhexField(f[2])
		}
	case info.Format == FormatV2:
		var der []byte
		if der, err = unhexField(f[1]); err == nil {
			curve, encoded, err = splitSPKI(der)
		}
	}
	if err != nil {
		return id, old, err
	}
	if curve == nil || !curve.isCompressed(encoded) {
		key, err := ParsePublicKey(text) // what Dovecot's own texts are not
		if err != nil {
			return id, old, err
		}
		return key.id, key.oldID, nil
	}
	id, old = curve.ids(encoded)
	if named := info.ID; info.Format == FormatV1 && named != old.String() || info.Format == FormatV2 && named != id.String() {
		return KeyID{}, KeyID{}, ErrKeyID
	}
	return id, old, nil
}

// isCompressed reports whether an encoded point has the form that IDs are computed over.
func (c *curveInfo) isCompressed(b []byte) bool {
	if c.raw {
		return len(b) == c.scalar
	}
	return len(b) == 1+c.scalar && (b[0] == 2 || b[0] == 3)
}
