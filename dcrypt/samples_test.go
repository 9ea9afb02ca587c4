package dcrypt

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"mailcrypt/internal/secret"
)

// Key K1, on P-256, in all the forms that Dovecot 2.3.19.1 accepted.
const (
	k1ID    = "de9f66c8fff467e2246370ba674713bdf74d11f5def4141caf3e3430fd4f84be"
	k1OldID = "e4f9a460c9f173c3d16e53e639eb8bb94146c9716f725be2af856930a7b00580"
	k1Text  = "2:1.2.840.10045.3.1.7:0:000000201f13a054e443af8f26c1b50ea27bc580becd635d5f09f5690d0b3e700ff54568:" + k1ID
	k1PEM   = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHxOgVORDr48mwbUO
onvFgL7NY11fCfVpDQs+cA/1RWihRANCAARDiqs0Zy+LYKpY//oflNyeSbd+pKed
q2oOubZgogVr8+HWreHrAVs0shLdikK1rE45mDZYwujjQLMkj2NDiFl0
-----END PRIVATE KEY-----
`
	k1Password   = "2:1.2.840.10045.3.1.7:2:aes-256-ctr:b343d774c2e47b0a:sha256:2048:a4270b8e785acccca49bd26eb7fe01e3424e0c9c2d68fa1689d05c388412f64c886a9b5a:" + k1ID
	k1Public     = "2:3039301306072a8648ce3d020106082a8648ce3d03010703220002438aab34672f8b60aa58fffa1f94dc9e49b77ea4a79dab6a0eb9b660a2056bf3:" + k1ID
	k1V1         = "1\t415\t0\t1F13A054E443AF8F26C1B50EA27BC580BECD635D5F09F5690D0B3E700FF54568\t" + k1OldID
	k1V1Password = "1\t415\t2\t025e5c3741692927edab289a24f24fa1485e79602033d4f9fdd4a381c75656cd\tdeb67dc03d69eeef465d9b8c0cc8dac8\t" + k1OldID
	k1V1Public   = "1\t415\t02438AAB34672F8B60AA58FFFA1F94DC9E49B77EA4A79DAB6A0EB9B660A2056BF3\t" + k1OldID
)

// A user key under the password "secret" and a folder key sealed to it, from a store
// that Dovecot 2.3.19.1 made.
const (
	userSealed   = "2:1.2.840.10045.3.1.7:2:aes-256-ctr:017943efddc2ccaf:sha256:2048:1c8262f3acd4df1b04332c1ed962a2e273d97d0d84e691c6eb2325b1b1cebffc3d4c8934da:9d11814b75f139ce8d6c2fcf43f7d6321dc08b9e578b48166f16c7d6ddd6777e"
	folderSealed = "2:1.2.840.10045.3.1.7:1:aes-256-ctr:739cb87275eb513f:sha256:2048:1d10ef036b0a26b4952844d1bd3cdd06138394430d13f25ac469513042da038fa9703004c9:045520bf0830fed1416f4118e9537f9ec1116dffff6100a59e38e29e2f42fe7e5408569ccc73d46706aad2759cfbe0c54e416a73f251b0b281c6a4a4bea335ee8b:9d11814b75f139ce8d6c2fcf43f7d6321dc08b9e578b48166f16c7d6ddd6777e:e19cc2f052afe4f40966d189fa10d00e5b418775740f9cc840dbe09f202c0f8d"
	folderText   = "2:1.2.840.10045.3.1.7:0:00000021008e653d618b19b0bf860c460750d7b4e33bdc649db1cfa07af8b9da2c42184c18:e19cc2f052afe4f40966d189fa10d00e5b418775740f9cc840dbe09f202c0f8d"
	x25519Text   = "2:1.3.101.110:0:e83374549b374efd1ca8bb6caf740a91218dfe623854748b4e1887166dfa337c:b17fd59009f5ae4c4f47b19d38203a10ed88b7981839c734f3a28ee8bf89cffc"
)

// sampleStreams all hold samplePlain. Their writers are in the names.
var sampleStreams = []struct{ name, key, hex string }{
	{"version 1 by 2.3.19.1", k1Text, "4352595054454403070100a900410464e2fe30f2981f356faf3cc719c9dcff70a8cf4966d479017264418685fbf594995a66d7ba60ea261cca3267645a251d334e4b39fa2e4b0b91c3167a02f1f95b0020e4f9a460c9f173c3d16e53e639eb8bb94146c9716f725be2af856930a7b005800020cdceecf9d0daad904b6a965342f9e0e7bc144488ba282fa9b875084a73a2a6050020c4568f3d6bce1a4e100ef389d9c147dd18c054d9a3dc5b4916338868d038b8d2f497fd430b8c302380e26337680a824f1b7956"},
	{"cbc and hmac by 2.3.19.1", k1Text, "43525950544544030702000000010000010f060960864801650304012a060960864801650304020100000800000000df0102de9f66c8fff467e2246370ba674713bdf74d11f5def4141caf3e3430fd4f84be0000004104cebfcb826fc500fca6344624f54a70fa27926287bb4e5cea2b57e8c8a5b33a782a272d643f518cf2f17534edf3b7b1bf6fe2e5c2435a92317ac904ed232d2f870000005067e0b22a80f5ba6a8e67f2247e17605aac4d7e0b773497fd6368026ce921c7a0854a9229558b2ad6a1ba055bc2658f7064be40fb6918d20921720271c5991fa0c4c06266d5d5cbcebbcf0e2d42cc4c1e00000020304a45a10fef03ad55e236ac5491fc01e025852c9fcf4c745209f7d8ffc5628c9b533c29e3cc091a46cd1772757e013e1f76edc17abea6cc7c616d4529384d7fcf11abeec3a095250a8dd32cb5f3ba2e4bea54cb6b9201c852a3e0ed70a980e4"},
	{"gcm by 2.3.19.1", folderText, "4352595054454403070200000002000000ff060960864801650304012e060960864801650304020100000800000000cf0102e19cc2f052afe4f40966d189fa10d00e5b418775740f9cc840dbe09f202c0f8d0000004104c61400b7744375b432de3e933a999ba58bbf9e674781f6bf3b5b24ee5c4d414b735f16664685fd5a50b5ea119c25d97e70409545e5e6d8048042b4f7980e79a6000000404073dc4c730adf54bf024e6589b13bf80ce7ab6a2971032da501835356b58b9a46a3b45207c6759abefa2d34a2eae3f294bebb951e54c8174fb309f05d439d9700000020e5fda74292c904bdf7522c568c30a615bc7d3ee70eca9a7d6225324f064bfd1c6ba2a474cd824f200fcb65b192dadffa1468e03fc219be3a63e4b117a251bb1bc3b90a"},
	{"X25519 by 2.4.4", x25519Text, "4352595054454403070200000002000000de060960864801650304012e060960864801650304020100000800000000ae0102b17fd59009f5ae4c4f47b19d38203a10ed88b7981839c734f3a28ee8bf89cffc00000020b632efef4d22501aa2afec5e3f1627f8457b7babcb9b7ec43ebf1b17eb48c21600000040e2bf9a5b94be0693c496ff3c3d731362cfe5691f23fc90187edcdcc4549ec610e27d66e5d839220453c3220d9b2a0465d482ab520a32f90eb39a1a70c6943fce00000020d74916b13e0122f8e16879e26b25877aff43fec615bd656bc849955d8e4f9ff53f76af15c5cdf5dc83afd7d647ae2ea437120fa5a84457e30c379b0de8a171d32cb966"},
	{"recipient under the body's cipher, read by 2.4.4", k1Text, "43525950544544030702000000120000010b060960864801650304012e060960864801650304020100000800000000db0102de9f66c8fff467e2246370ba674713bdf74d11f5def4141caf3e3430fd4f84be000000410484e03d3fb850da3d8c2270ef8f0b962ba2d24a4c233855f796f9b8399587380733a5e5ee1959deeeabcec5c4db3eadfed28fadd60ea234b11f635f3f4a11bdc20000004c22b7eb12a56c90a38bd0f5648b1cd478fc04fc3d4361fc277441c213f0024f33dc115dfefb028d159561a0b4fff73263aa0932734a8af50974cd6ed0218d6d3a15565872317588585a1f461a00000020c878d719b50dff854a9266d47ded2dd0ff21362b7276c007f8a8528b24b2ebd667f0fb600fc263eced5ca663d43d3df992445260e97bb5f5f2737496c2e1c1fb072661"},
}

const samplePlain = "Subject: hi\n\nhello\n"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSampleStreams(t *testing.T) {
	for _, tt := range sampleStreams {
		t.Run(tt.name, func(t *testing.T) {
			b := unhex(t, tt.hex)
			got, err := readStream(b, KeyList{mustPrivate(t, tt.key, Opener{})})
			if err != nil || string(got) != samplePlain {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestCompressedEphemeral(t *testing.T) {
	// Old writers compressed R. Version 1 takes any form, since R is not hashed there; in
	// version 2 R is the salt, so the form matters and a new stream is made.
	k := mustPrivate(t, k1Text, Opener{})
	v1 := unhex(t, sampleStreams[0].hex)
	point := v1[14 : 14+65]
	short := slices.Concat(v1[:10], []byte{0, 0xa9 - 32 + 2, 0, 33}, k.pub.info.compress(point), v1[14+65:14+65+102], []byte{0, 0}, v1[12+0xa9:])
	if got, err := readStream(short, KeyList{k}); err != nil || string(got) != samplePlain {
		t.Errorf("version 1, compressed, two octets of padding: %q, %v", got, err)
	}

	h := suite(t, "aes-256-gcm", "sha256")
	h.Rounds = 2
	_, kd, err := h.seal(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	ephemeral, shared, err := k.Public().agreeEphemeral()
	if err != nil {
		t.Fatal(err)
	}
	r := &h.Recipients[0]
	r.ephemeral = k.pub.info.compress(ephemeral)
	c, key := h.wrapKey(shared, r.ephemeral)
	if r.wrapped, err = c.seal(key[:32], key[32:], kd); err != nil {
		t.Fatal(err)
	}
	head, err := h.marshal()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSealer(h, kd)
	if err != nil {
		t.Fatal(err)
	}
	body, err := s.seal([]byte(samplePlain), true)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readStream(append(head, body...), KeyList{k}); err != nil || string(got) != samplePlain {
		t.Errorf("version 2, compressed: %q, %v", got, err)
	}
}

func TestSampleKeys(t *testing.T) {
	pw := func(s string) Opener { return Opener{Password: secret.New([]byte(s))} }
	for _, tt := range []struct {
		name, text string
		open       Opener
	}{
		{"version 2", k1Text, Opener{}},
		{"version 2 by password", k1Password, pw("secret")},
		{"version 1", k1V1, Opener{}},
		{"version 1 by password, in hex", k1V1Password, pw("736563726574")},
		{"PEM", k1PEM, Opener{}},
		{"curve by name", strings.Replace(k1Text, "1.2.840.10045.3.1.7", "prime256v1", 1), Opener{}},
		{"upper-case hex", strings.Replace(k1Text, "1f13a054e4", "1F13A054E4", 1), Opener{}},
		{"leading zeros", strings.Replace(k1Text, "000000201f", "0000002200001f", 1), Opener{}},
		{"TAB and colon mixed", strings.Replace(k1Text, ":0:", "\t0:", 1), Opener{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := mustPrivate(t, tt.text, tt.open)
			old, _ := k.OldID()
			if k.ID().String() != k1ID || old.String() != k1OldID {
				t.Errorf("IDs %s and %s", k.ID(), old)
			}
			if string(k.Text()) != k1Text || string(k.PEM()) != k1PEM || k.Public().Text() != k1Public {
				t.Error("texts differ")
			}
		})
	}
	uncompressed := mustPublic(t, string(mustPublic(t, k1Public).PEM()))
	long := "2:" + hex.EncodeToString(uncompressed.spki(false)) + ":" + k1ID
	for _, text := range []string{k1Public, k1V1Public, long, string(uncompressed.PEM())} {
		if k := mustPublic(t, text); k.ID().String() != k1ID || k.Text() != k1Public {
			t.Errorf("%.30q: another key", text)
		}
	}
}

func TestSampleStore(t *testing.T) {
	user := mustPrivate(t, userSealed, Opener{Password: secret.New([]byte("secret"))})
	folder := mustPrivate(t, folderSealed, Opener{Keys: KeyList{user}})
	if string(folder.Text()) != folderText {
		t.Error("folder key differs")
	}
	if _, err := ParsePrivateKey([]byte(folderSealed), Opener{Keys: KeyList{folder}}); !errors.Is(err, ErrNoKey) {
		t.Errorf("protecting key not at hand: %v, want ErrNoKey", err)
	}
	if _, err := ParsePrivateKey([]byte(userSealed), Opener{Password: secret.New([]byte("Secret"))}); !errors.Is(err, ErrPassword) {
		t.Errorf("wrong password: %v, want ErrPassword", err)
	}
	damaged := bytes.Replace([]byte(folderSealed), []byte("1d10ef"), []byte("1d10ee"), 1)
	if _, err := ParsePrivateKey(damaged, Opener{Keys: KeyList{user}}); !errors.Is(err, ErrKeyID) {
		t.Errorf("damaged seal: %v, want ErrKeyID", err)
	}
}
