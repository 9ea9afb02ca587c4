#!/usr/bin/env python3
"""Change a user's password where another program keeps the login passwords.

The keys that a user's mail is encrypted to are sealed by the password, and
must go along when it changes.  This is a module for panels written in Python
and a program for all others.  It speaks to the admin socket of mailcryptd
(docs/admin-protocol.md) and needs the standard library only.

As a module::

    with password_change("alice", old, new):
        panel.set_hash("alice", new)        # an exception puts all back

As a program, with the old password and the new one on standard input, a line
each (those two alone: of commit, abandon and undo it reads nothing)::

    mailcrypt_password_changed.py run USER COMMAND [ARG...]
    mailcrypt_password_changed.py prepare USER      # prints a token, or nothing
    mailcrypt_password_changed.py commit USER TOKEN
    mailcrypt_password_changed.py abandon USER TOKEN
    mailcrypt_password_changed.py undo USER

``run`` gives COMMAND ``USER:NEWPASSWORD`` on its standard input, as chpasswd
has it.  First the new seals are stored beside the old ones, then the login
password is changed, then the new seals count.  In between both passwords open
the keys.  Killed anywhere, nothing is lost: a login with the new password
completes the change, and with the old one everything is as before.

No password is in an argument, in the environment or in a file.  The program
runs as root or as the user of the daemon.

Exit status: 0 done, and a warning may say that the next login has to complete
it; 64 wrong use, also where the keys do not hang on the login password; 65 the
old password does not open the keys, and nothing was changed; 67 no such user;
68 undo: no old seals are kept; 69 no daemon answers, and nothing was changed;
73 COMMAND failed, and the keys are as before; 74 COMMAND was killed, so that it
is not known whether the login password has changed: both passwords open the
keys, run it again with the one that logs in; 75 a failure that may pass, and
nothing was changed.  After 69, 73, 74 and 75 the same call may be made again.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Optional

PROTOCOL = 3
DEFAULT_SOCKET = "/var/lib/mailcryptd/admin.sock"
MAX_PASSWORD = 4096
MAX_ANSWER = 64 << 20

EX_USAGE, EX_PASSWORD, EX_NOUSER, EX_NOTFOUND = 64, 65, 67, 68
EX_UNAVAILABLE, EX_COMMAND, EX_UNKNOWN, EX_TEMPORARY = 69, 73, 74, 75

log = logging.getLogger("mailcrypt")


class AdminError(Exception):
    """The daemon did not do what it was asked for, or not all of it.

    ``kinds`` are the protocol's, ``result`` is what was done all the same.
    """

    # The first that fits counts.
    _STATUS = (
        ("no-daemon", EX_UNAVAILABLE), ("version", EX_TEMPORARY),
        ("usage", EX_USAGE), ("no-user", EX_NOUSER), ("no-key", EX_NOTFOUND),
        ("password", EX_PASSWORD), ("need-password", EX_PASSWORD),
        ("partly", EX_PASSWORD), ("damaged", EX_PASSWORD),
        ("conflict", EX_PASSWORD),
    )

    def __init__(self, text: str, kinds: Sequence[str],
                 result: Optional[dict[str, Any]] = None) -> None:
        super().__init__(text)
        self.kinds = frozenset(kinds)
        self.result = result or {}

    @property
    def status(self) -> int:
        """The exit status, as doveadm-crypt has it."""
        for kind, status in self._STATUS:
            if kind in self.kinds:
                return status
        return EX_TEMPORARY


class OutcomeUnknown(Exception):
    """Raise it inside password_change where it is not known whether the login
    password has changed: both passwords then go on opening the keys."""


class AdminClient:
    """A connection to the admin socket.  Use it as a context manager.

    timeout is how many seconds the daemon may say nothing: it says every 5
    that it is at work.
    """

    def __init__(self, path: str = DEFAULT_SOCKET,
                 timeout: float = 30.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(path)
        except PermissionError as e:
            self._socket.close()
            raise AdminError(f"{path} refused: are you the mail user, or "
                             "root?", ["temporary"]) from e
        except (FileNotFoundError, ConnectionRefusedError) as e:
            self._socket.close()
            raise AdminError(f"no daemon answers on {path}: start "
                             "mailcryptd", ["no-daemon"]) from e
        except OSError as e:
            self._socket.close()
            raise AdminError(f"{path}: {e}", ["temporary"]) from e
        self._lines = self._socket.makefile("rb")
        try:
            greeting = self._line(200)
            if greeting != b"mailcryptd-admin %d\n" % PROTOCOL:
                raise AdminError(f"{path} is no mailcryptd that speaks "
                                 f"version {PROTOCOL}", ["version"])
        except AdminError:
            self.close()
            raise

    def __enter__(self) -> AdminClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, which cancels a request under way."""
        self._lines.close()
        self._socket.close()

    def _line(self, limit: int = MAX_ANSWER) -> bytes:
        try:
            line = self._lines.readline(limit)
        except OSError as e:
            raise AdminError(f"no answer from the daemon: {e}",
                             ["temporary"]) from e
        if not line.endswith(b"\n"):
            raise AdminError("the daemon went away and may have done it, or "
                             "not", ["temporary"])
        return line

    def call(self, method: str, args: dict[str, Any]) -> dict[str, Any]:
        """Ask for something, and return the result.

        Octets in args are given as bytes.  Raises AdminError.
        """
        request = {"do": method, "version": PROTOCOL, "args": args}
        text = json.dumps(request, default=_octets) + "\n"
        try:
            self._socket.sendall(text.encode())
        except OSError as e:
            raise AdminError(f"asking the daemon: {e}",
                             ["temporary"]) from e
        while True:
            try:
                answer = json.loads(self._line())
            except ValueError as e:
                raise AdminError("the daemon's answer is not JSON",
                                 ["temporary"]) from e
            result: dict[str, Any] = answer.get("result") or {}
            error = answer.get("error")
            if error is not None:
                raise AdminError(error.get("text", ""),
                                 error.get("kinds") or [], result)
            if "result" in answer:
                return result


def _octets(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)


def prepare(user: str, old: bytes, new: bytes,
            path: str = DEFAULT_SOCKET) -> str:
    """Store the new seals beside the old ones, and return the token for
    commit or abandon: "" where the user has no keys yet."""
    args = {"user": user, "all": True, "prepare_only": True,
            "old": [{"secret": old, "login": True}],
            "new": {"secret": new, "login": True}}
    with AdminClient(path) as client:
        try:
            return str(client.call("Reseal", args).get("token", ""))
        except AdminError as e:
            if "no-key" in e.kinds:
                return ""  # the first login makes them
            raise


def _end(args: dict[str, Any], path: str, tries: int) -> None:
    for left in reversed(range(tries)):
        try:
            with AdminClient(path) as client:
                client.call("EndReseal", args)
            return
        except AdminError as e:
            # The daemon may be starting anew; to ask twice does no harm.
            if e.status not in (EX_UNAVAILABLE, EX_TEMPORARY) or not left:
                raise
            time.sleep(1)


def commit(user: str, token: str, path: str = DEFAULT_SOCKET,
           keep_old: int = 0, tries: int = 3) -> None:
    """Make the new seals count.  keep_old is for how many seconds undo is to
    be possible.  It may be asked for again."""
    if token:
        _end({"user": user, "token": token, "commit": True,
              "keep_old": keep_old}, path, tries)


def abandon(user: str, token: str, path: str = DEFAULT_SOCKET,
            tries: int = 3) -> None:
    """Forget the new seals.  It may be asked for again."""
    if token:
        _end({"user": user, "token": token}, path, tries)


def undo(user: str, path: str = DEFAULT_SOCKET) -> None:
    """Put the seals of the old password back, that commit has kept."""
    with AdminClient(path) as client:
        client.call("UndoReseal", {"user": user})


@contextlib.contextmanager
def password_change(user: str, old: bytes, new: bytes,
                    path: str = DEFAULT_SOCKET,
                    keep_old: int = 0) -> Iterator[None]:
    """Change the login password inside this context.

    Raises AdminError before the body runs where the keys cannot go along:
    the login password must then stay as it is.  An exception of the body is
    taken to mean that the login password is the old one, and the new seals
    are forgotten; but for OutcomeUnknown, KeyboardInterrupt and SystemExit,
    after which both passwords open the keys.
    """
    token = prepare(user, old, new, path)
    try:
        yield
    except OutcomeUnknown:
        raise
    except Exception:
        try:
            abandon(user, token, path)
        except AdminError as e:
            log.warning("the new seals could not be removed, so the new "
                        "password opens the keys of %s too, until the next "
                        "change: %s", user, e)
        raise
    try:
        commit(user, token, path, keep_old)
    except AdminError as e:
        log.warning("the password of %s has changed, and the next login "
                    "completes it; until then the old one opens the keys "
                    "too: %s", user, e)


class CommandFailed(Exception):
    """The command that was to change the login password has failed."""


def run(user: str, command: Sequence[str], old: bytes, new: bytes,
        path: str = DEFAULT_SOCKET, keep_old: int = 0) -> None:
    """Change the password by a command that reads USER:NEWPASSWORD."""
    with password_change(user, old, new, path, keep_old):
        line = os.fsencode(user) + b":" + new + b"\n"
        try:
            # stdout is the caller's, and may be a protocol of its own.
            done = subprocess.run(command, input=line, check=False)
        except OSError as e:
            raise CommandFailed(f"the command cannot be run: {e}") from e
        if done.returncode < 0 or done.returncode > 128:
            raise OutcomeUnknown(
                f"the command was killed (status {done.returncode}): both "
                f"passwords open the keys of {user}; run it again with the "
                "password that logs in")
        if done.returncode:
            raise CommandFailed(f"the command failed with status "
                                f"{done.returncode}: the password of {user} "
                                "is the old one")


def read_passwords() -> tuple[bytes, bytes]:
    """Read the old password and the new one from standard input."""
    lines = []
    for _ in range(2):
        line = sys.stdin.buffer.readline(MAX_PASSWORD + 2)
        line = line[:-1] if line.endswith(b"\n") else line
        if not line or len(line) > MAX_PASSWORD or b"\r" in line:
            raise ValueError("give the old password and the new one on "
                             "standard input, a line each, neither empty")
        lines.append(line)
    return lines[0], lines[1]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Change a user's password where another program keeps "
                    "the login passwords.")
    parser.add_argument("--socket", default=os.environ.get(
        "MAILCRYPT_SOCKET", DEFAULT_SOCKET),
        help="the admin socket, otherwise of MAILCRYPT_SOCKET "
             "(%(default)s)")
    parser.add_argument("--keep-old", type=int, default=0, metavar="SECONDS",
                        help="how long undo is to be possible")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("run", "prepare", "commit", "abandon", "undo"):
        p = verbs.add_parser(verb)
        p.add_argument("user")
        if verb in ("commit", "abandon"):
            p.add_argument("token")
        if verb == "run":
            p.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args(argv)
    if not args.user or args.verb == "run" and not args.command:
        parser.error("name the user, and with run a command")
    return args


def main(argv: Sequence[str]) -> int:
    """Be the program."""
    logging.basicConfig(format="%(filename)s: %(message)s")
    try:
        args = parse(argv)
    except SystemExit as e:
        return EX_USAGE if e.code else 0
    try:
        if args.verb in ("run", "prepare"):
            old, new = read_passwords()
        if args.verb == "run":
            run(args.user, args.command, old, new, args.socket, args.keep_old)
        elif args.verb == "prepare":
            token = prepare(args.user, old, new, args.socket)
            if token:
                print(token)
        elif args.verb == "commit":
            commit(args.user, args.token, args.socket, args.keep_old)
        elif args.verb == "abandon":
            abandon(args.user, args.token, args.socket)
        else:
            undo(args.user, args.socket)
    except ValueError as e:
        log.error("%s", e)
        return EX_USAGE
    except AdminError as e:
        log.error("%s", e)
        return e.status
    except CommandFailed as e:
        log.error("%s", e)
        return EX_COMMAND
    except OutcomeUnknown as e:
        log.error("%s", e)
        return EX_UNKNOWN
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
