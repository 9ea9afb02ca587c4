<?php

/**
 * Driver of Roundcube's password plugin around another driver, for users whose mail is
 * encrypted under their password. Copy it to plugins/password/drivers/mailcrypt.php and set
 *
 *     $config['password_driver'] = 'mailcrypt';
 *     $config['password_mailcrypt_driver'] = 'sql';   // the driver that keeps the passwords
 *     $config['password_confirm_current'] = true;     // the old password must be typed
 *     $config['password_mailcrypt_hook'] = ['sudo', '-n', '-u', 'mailcrypt',
 *         '/usr/local/bin/mailcrypt-password-changed.sh'];
 *
 * The hook stores new seals beside the old ones, the other driver changes the password, and
 * the hook makes the new seals count, or forgets them. Passwords go through a pipe.
 */
class rcube_mailcrypt_password
{
    public function save($currpass, $newpass, $username)
    {
        $config = rcmail::get_instance()->config;
        $hook = $config->get('password_mailcrypt_hook');
        $name = $config->get('password_mailcrypt_driver');
        if (!is_array($hook) || !is_string($name) || !preg_match('/^\w+$/D', $name)
            || preg_match('/[\r\n\0]/', $currpass . $newpass)) {
            return PASSWORD_ERROR;
        }
        $class = 'rcube_' . $name . '_password';
        if (!class_exists($class, false)) {
            require_once __DIR__ . '/' . $name . '.php';
        }

        [$status, $token] = $this->call([...$hook, 'prepare', $username], $currpass . "\n" . $newpass . "\n");
        if ($status === 65) {
            return ['code' => PASSWORD_ERROR, 'message' => 'The current password does not open your mail.'];
        }
        if ($status !== 0) {
            return PASSWORD_CONNECT_ERROR; // nothing was changed
        }

        // An exception leaves both seals: it is not known whether the password has changed.
        $result = (new $class())->save($currpass, $newpass, $username);
        $code = is_array($result) ? $result['code'] : $result;
        $this->call([...$hook, $code === PASSWORD_SUCCESS ? 'commit' : 'abandon', $username, $token], '');

        return $result; // a commit that failed is made up for by the next login
    }

    /** Runs a command without a shell; returns its exit status and the line that it prints. */
    private function call(array $command, string $input): array
    {
        $process = proc_open($command, [['pipe', 'r'], ['pipe', 'w'], ['file', '/dev/null', 'a']], $pipes);
        if ($process === false) {
            return [-1, ''];
        }
        fwrite($pipes[0], $input);
        fclose($pipes[0]);
        $line = trim((string) stream_get_contents($pipes[1]));
        fclose($pipes[1]);

        return [proc_close($process), $line];
    }
}
