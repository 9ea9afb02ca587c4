// Package acceptance holds the tests that run the real programs: mailcryptd and
// doveadm-crypt as built from this tree, Debian's Dovecot, and mail clients. What is not
// installed, or needs root where the test has it not, is skipped with the reason;
// scripts/install-test-deps installs what can be had.
package acceptance
