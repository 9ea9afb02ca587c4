#!/bin/sh
# Changes a user's password where another program keeps the login passwords: the keys that the
# user's mail is encrypted to are sealed by the password, and must go along.
#
#   mailcrypt-password-changed.sh run USER COMMAND [ARG...]
#   mailcrypt-password-changed.sh prepare USER          prints a token, or nothing
#   mailcrypt-password-changed.sh commit USER TOKEN
#   mailcrypt-password-changed.sh abandon USER TOKEN
#   mailcrypt-password-changed.sh undo USER
#
# "run" and "prepare" read the old password and the new one from standard input, a line each.
# "run" prepares the new seals, then runs COMMAND, which changes the login password, with
# "USER:NEWPASSWORD" on its standard input, as chpasswd has it; then it commits, or abandons where
# COMMAND has failed. Between the two both passwords open the keys. Killed anywhere, nothing is
# lost: a login with the new password commits, and with the old one everything is as before.
# "undo" puts the seals of the old password back after a commit, as long as they are kept.
#
# No password is in an argument, in the environment or in a file.
#
# Settings, from the environment: MAILCRYPT_DOVEADM is the program (doveadm-crypt), MAILCRYPT_CONFIG
# its configuration, MAILCRYPT_KEEP_OLD how long "undo" is possible, such as 48h (not at all).
#
# Exit status:
#   0   done. A warning may say that the next login has to complete it
#   64  wrong use, also where the user's keys do not hang on the login password
#   65  the old password does not open the user's keys; nothing was changed
#   67  no such user; nothing was changed
#   68  undo: no old seals are kept
#   73  COMMAND failed; the keys are as before
#   74  COMMAND was killed: whether the login password has changed is not known. Both passwords
#       open the keys; run it again, with the password that logs in as the old one
#   69, 75, 78  doveadm-crypt could not work; nothing was changed. 75: try again
# After 69, 73, 74 and 75 the same call may be made again.

set -u
set +x # or a trace would show passwords
unset old new token || exit 64 # they might be in the environment, and would go to every command

doveadm=${MAILCRYPT_DOVEADM:-doveadm-crypt}
config=${MAILCRYPT_CONFIG:-}
keep=${MAILCRYPT_KEEP_OLD:-}

say() {
	printf '%s: %s\n' "${0##*/}" "$1" >&2
}

usage() {
	say "wrong use: run USER COMMAND..., prepare USER, commit USER TOKEN, abandon USER TOKEN, undo USER"
	exit 64
}

# A printf that is a program would show its arguments to every user of the machine.
case $(command -v printf) in
/*)
	say "this shell has no printf of its own: run it by dash, bash or busybox sh"
	exit 64
	;;
esac

crypt() {
	if [ -n "$config" ]; then
		"$doveadm" -c "$config" "$@"
	else
		"$doveadm" "$@"
	fi
}

wrong_input() {
	say "give the old password and the new one on standard input, a line each, neither empty"
	exit 64
}

read_passwords() {
	IFS= read -r old || wrong_input
	IFS= read -r new || [ -n "$new" ] || wrong_input
	[ -n "$old" ] || wrong_input
	[ -n "$new" ] || wrong_input
	case $old$new in
	*"$(printf '\r')"*) wrong_input ;; # which doveadm-crypt and COMMAND might take differently
	esac
}

# prepare sets token, to nothing where the user has no keys yet: the first login makes them.
prepare() {
	answer=$(printf '%s\n%s\n' "$old" "$new" | crypt cryptokey password -u "$1" --prepare --all)
	status=$?
	[ "$status" -eq 0 ] || exit "$status"
	token=$(printf '%s\n' "$answer" | sed -n 's/^token: //p')
}

commit() {
	if [ -n "$keep" ]; then
		crypt cryptokey commit -u "$1" --keep-old "$keep" "$2" >/dev/null
	else
		crypt cryptokey commit -u "$1" "$2" >/dev/null
	fi
}

run() {
	user=$1
	shift
	read_passwords
	prepare "$user"
	printf '%s:%s\n' "$user" "$new" | "$@"
	status=$?
	if [ "$status" -gt 128 ]; then
		say "the command was killed (status $status): both passwords open the keys of $user; run it again with the password that logs in"
		exit 74
	elif [ "$status" -ne 0 ]; then
		[ -z "$token" ] || crypt cryptokey commit -u "$user" --abandon "$token" >/dev/null ||
			say "the new seals could not be removed: the new password opens the keys of $user too, until the next change"
		say "the command failed with status $status: the password of $user is the old one"
		exit 73
	fi
	[ -z "$token" ] || commit "$user" "$token" ||
		say "the password of $user has changed, and the next login completes it: until then the old one opens the keys too"
	exit 0
}

[ $# -ge 2 ] || usage
verb=$1
shift
case $1 in
'' | -*) usage ;;
esac
case $verb in
run)
	[ $# -ge 2 ] || usage
	run "$@"
	;;
prepare)
	[ $# -eq 1 ] || usage
	read_passwords
	prepare "$1"
	[ -z "$token" ] || printf '%s\n' "$token"
	;;
commit | abandon)
	[ $# -eq 2 ] || usage
	[ -n "$2" ] || exit 0 # of a user without keys
	if [ "$verb" = commit ]; then
		commit "$1" "$2"
	else
		crypt cryptokey commit -u "$1" --abandon "$2" >/dev/null
	fi
	;;
undo)
	[ $# -eq 1 ] || usage
	crypt cryptokey undo -u "$1" >/dev/null
	;;
*)
	usage
	;;
esac
