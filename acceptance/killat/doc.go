// Command killat runs a program and kills it at one of its changes to files, for tests of
// what a kill leaves behind:
//
//	killat -root DIR [-at N -how HOW] [-arm FILE] [-all] [-report FILE] PROGRAM ARG...
//
// It counts the system calls of the program, all its threads and all programs that it
// starts, which change a file or directory below DIR, or with -all also those that write to
// sockets and pipes. Counting begins once FILE exists. The N-th call ends the program with
// SIGKILL:
//
//	before   the call is not made
//	after    the call has been made, and nothing after it by that thread
//	torn     as after, but of a write only the first half of the bytes arrives
//	power    as before; then everything that had not been synced is taken back: contents
//	         to the last fsync of the file, entries to the last fsync of the directory
//	names    as power, but entries stay: names of files that are empty or have their old
//	         contents, as file systems leave them that write names before contents
//
// Without -at nothing is killed. SIGTERM to killat kills the program too. With -at -1 the power
// is cut when the program has ended, or was killed so: what was acknowledged must be there then. A report has a line for each call that was counted:
// its name, a tab, and the path. The exit status is the program's, 137 where it was
// killed, and 125 where killat itself failed.
//
// It sees the calls by a seccomp filter, which stops the program for those alone, and
// ptrace. Linux on amd64 only, and as root where the program makes itself not dumpable.
package main
