package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mailcrypt/admin"
)

const commandLineWarning = "warning: passwords on the command line can be seen by every user of this machine for a moment, and stay in the shell's history"

// A secretOption is where one secret comes from: a file, a file descriptor, or a question.
type secretOption struct {
	t      *tool
	name   string
	prompt string
	file   string
	fd     int
	flags  *pflag.FlagSet
}

// secretOption adds --NAME-file and --NAME-fd to a command.
func (t *tool) secretOption(c *cobra.Command, name, what, prompt string) *secretOption {
	o := &secretOption{t: t, name: name, prompt: prompt, flags: c.Flags()}
	o.flags.StringVar(&o.file, name+"-file", "", "read "+what+" from the first line of `FILE`")
	o.flags.IntVar(&o.fd, name+"-fd", 0, "read "+what+" from file descriptor `N`")
	return o
}

// given reports whether an option says where the secret is.
func (o *secretOption) given() bool {
	return o.file != "" || o.flags.Changed(o.name+"-fd")
}

// get returns the secret, which the caller clears. Where no option says where it is, it is
// asked for; a new one twice.
func (o *secretOption) get(ctx context.Context, fresh bool) ([]byte, error) {
	switch {
	case o.file != "" && o.flags.Changed(o.name+"-fd"):
		return nil, usage("give one of --%s-file and --%s-fd", o.name, o.name)
	case o.file != "":
		return o.t.fromFile(o.file)
	case o.flags.Changed(o.name + "-fd"):
		return fromFD(o.fd)
	case fresh:
		return o.t.askNew(ctx, o.prompt)
	}
	return o.t.ask(ctx, o.prompt)
}

// keySecrets are the options of commands that open keys: a password, and private keys.
type keySecrets struct {
	*secretOption
	raw bool
	// seals says that a new key may be sealed by it: a secret that is not compared with the
	// login password is asked for twice.
	seals bool
	keys  []string
	got   []admin.Password
}

func (t *tool) keySecrets(c *cobra.Command) *keySecrets {
	k := &keySecrets{secretOption: t.secretOption(c, "password", "the password that opens the user keys", "Password")}
	c.Flags().BoolVar(&k.raw, "raw", false, "take passwords as the secret of the seal, not as login passwords")
	c.Flags().StringArrayVar(&k.keys, "key-file", nil, "open what is sealed to the private key in `FILE`")
	return k
}

// clear clears what was got.
func (k *keySecrets) clear() {
	for _, p := range k.got {
		clear(p.Secret)
		clear(p.Key)
	}
}

// options takes in what options and Dovecot's -o say.
func (k *keySecrets) options(ctx context.Context) error {
	dovecot, err := k.t.dovecotSecret()
	if err != nil {
		return err
	}
	if dovecot != nil {
		k.got = append(k.got, *dovecot)
	}
	for _, name := range k.keys {
		text, err := readKeyFile(name)
		if err != nil {
			return err
		}
		k.got = append(k.got, admin.Password{Key: text})
	}
	if k.given() {
		return k.ask(ctx)
	}
	return nil
}

func (k *keySecrets) ask(ctx context.Context) error {
	secret, err := k.get(ctx, k.seals && k.raw)
	if err == nil {
		k.got = append(k.got, admin.Password{Secret: secret, Login: !k.raw})
	}
	return err
}

// with calls an operation, and once more with a password where it says that it needs one.
// The operation must not have done anything then.
func (k *keySecrets) with(ctx context.Context, do func([]admin.Password) error) error {
	err := do(k.got)
	if !errors.Is(err, admin.ErrNeedPassword) || k.password() != nil {
		return err
	}
	switch aerr := k.ask(ctx); {
	case errors.Is(aerr, errEnded):
		return err // which says what the password is for
	case aerr != nil:
		return aerr
	}
	return do(k.got)
}

// password is the last one that is no private key; nil where there is none.
func (k *keySecrets) password() *admin.Password {
	for i := len(k.got) - 1; i >= 0; i-- {
		if k.got[i].Key == nil {
			return &k.got[i]
		}
	}
	return nil
}

// readKeyFile reads a private key.
func readKeyFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usage("%v", err)
	}
	defer f.Close()
	const most = 64 << 10
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(text) > most {
		return nil, usage("%s is too large for a private key", name)
	}
	return text, nil
}

// dovecotSecret is the secret of -o plugin/mail_crypt_private_password=SECRET before the
// command; nil where there is none.
func (t *tool) dovecotSecret() (*admin.Password, error) {
	var found *admin.Password
	for _, o := range t.options {
		name, value, ok := strings.Cut(o, "=")
		switch strings.TrimPrefix(name, "plugin/") {
		case "mail_crypt_private_password", "crypt_user_key_password":
		default:
			ok = false
		}
		if !ok {
			return nil, usage("-o before the command takes plugin/mail_crypt_private_password=SECRET; set %q in the configuration", clean(name))
		}
		fmt.Fprintln(t.stderr, commandLineWarning)
		found = &admin.Password{Secret: []byte(value)}
	}
	return found, nil
}
