package acceptance

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailcrypt/admin"
)

// TestHookOfRoundcube runs the driver of Roundcube's password plugin around another driver,
// which keeps passwords in the passwd-file, in a PHP that has of Roundcube what a driver uses.
func TestHookOfRoundcube(t *testing.T) {
	if _, err := exec.LookPath("php"); err != nil {
		t.Skip("php is not installed")
	}
	driver, err := filepath.Abs("../contrib/hooks/roundcube_mailcrypt.php")
	if err != nil {
		t.Fatal(err)
	}
	eachHook(t, func(t *testing.T, p *panel) {
		t.Setenv("MAILCRYPT_CONFIG", p.config)
		t.Setenv("MAILCRYPT_SOCKET", filepath.Join(p.dir, "state", admin.SocketName))
		t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
		hook, err := json.Marshal(p.hook)
		if err != nil {
			t.Fatal(err)
		}
		save := func(old, fresh, inner string) string {
			t.Helper()
			script := filepath.Join(p.dir, "change.php")
			if err := os.WriteFile(script, fmt.Appendf(nil, roundcubeScript, hook, driver, p.dir, inner), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("php", script)
			cmd.Stdin = strings.NewReader(old + "\n" + fresh + "\n")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("php: %v: %s", err, out)
			}
			return string(out)
		}
		if got := save("wrong", hookNew, "0"); !strings.HasPrefix(got, "1 The current password") {
			t.Errorf("a wrong password: %s", got)
		}
		p.pending(t, false)
		if got := save(hookOld, hookNew, "2"); got != "2 " {
			t.Errorf("the other driver fails: %s", got)
		}
		p.pending(t, false)
		p.opens(t, hookNew, false)
		p.reads(t, hookOld)
		if got := save(hookOld, hookNew, "0"); got != "0 " {
			t.Errorf("changed: %s", got)
		}
		p.pending(t, false)
		p.opens(t, hookOld, false)
		p.reads(t, hookNew)
	})
}

// roundcubeScript has placeholders for the hook, the driver, the panel's directory and what
// the other driver answers.
const roundcubeScript = `<?php
error_reporting(E_ALL);
set_error_handler(function ($no, $text) { echo $text; exit(9); });
const PASSWORD_SUCCESS = 0, PASSWORD_ERROR = 1, PASSWORD_CONNECT_ERROR = 2;
class settings {
    function get($name) {
        return ['password_mailcrypt_hook' => json_decode(<<<'END'
%s
END), 'password_mailcrypt_driver' => 'other'][$name];
    }
}
class rcmail {
    public $config;
    static function get_instance() { $r = new rcmail(); $r->config = new settings(); return $r; }
}
require '%s';
class rcube_other_password {
    function save($old, $new, $user) {
        $dir = '%s'; $answer = %s;
        if ($answer === PASSWORD_SUCCESS) {
            file_put_contents("$dir/users.new", "$user:{PLAIN}$new::::::mail_crypt_save_version=2\n");
            rename("$dir/users.new", "$dir/users");
        }
        return $answer;
    }
}
[$old, $new] = explode("\n", stream_get_contents(STDIN));
$r = (new rcube_mailcrypt_password())->save($old, $new, 'u');
echo is_array($r) ? $r['code'] . ' ' . $r['message'] : "$r ";
`

// TestHookAsModule uses the hook in Python as panels in Python do.
func TestHookAsModule(t *testing.T) {
	hooks, err := filepath.Abs("../contrib/hooks")
	if err != nil {
		t.Fatal(err)
	}
	p := startPanel(t, "python3")
	cmd := exec.Command("python3", "-B", "-c", fmt.Sprintf(moduleScript, hooks, filepath.Join(p.dir, "state", admin.SocketName)))
	cmd.Stdin = strings.NewReader(hookInput)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p.pending(t, false)
	p.opens(t, hookOld, false)
	p.opens(t, hookNew, true)
}

const moduleScript = `
import sys
sys.path.insert(0, %q)
import mailcrypt_password_changed as m
path = %q
old, new = m.read_passwords()
with m.AdminClient(path) as client:
    assert client.call("Status", {})["daemon"]
    try:
        client.call("List", {"user": "nobody"})
        sys.exit("a list of nobody's keys")
    except m.AdminError as e:
        assert "no-user" in e.kinds and e.status == 67
    def pending():
        return ["pending" in k for k in client.call("List", {"user": "u", "user_keys": True})["keys"]]
    try:
        with m.password_change("u", old, new, path):
            assert pending() == [True]
            raise LookupError("the panel's database")
    except LookupError:
        assert pending() == [False]
    try:
        with m.password_change("u", old, new, path):
            raise m.OutcomeUnknown()
    except m.OutcomeUnknown:
        assert pending() == [True]
    try:
        with m.password_change("u", b"wrong", new, path):
            sys.exit("a wrong password was taken")
    except m.AdminError as e:
        assert e.status == 65
    with m.password_change("u", old, new, path):
        assert pending() == [True]
`
