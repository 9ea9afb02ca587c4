package dovecotconf

import (
	"regexp"
	"strings"
)

// A rule tells of settings by the beginning of their names.
type rule struct {
	prefix string
	effect Effect
	advice string
}

// known are settings without a counterpart; the longest prefix that fits counts. They are
// names of settings, and of the sections around them.
var known = []rule{
	{"dovecot_config_version", Ignored, "It is about Dovecot's own syntax."},
	{"dovecot_storage_version", Ignored, "It is about Dovecot's own files."},
	{"log_", Ignored, "Logs go to standard error: see mail_log and log_format."},
	{"info_log_path", Ignored, "Logs go to standard error: see mail_log and log_format."},
	{"debug_log_path", Ignored, "Logs go to standard error: see mail_log and log_format."},
	{"syslog_facility", Ignored, "Logs go to standard error, and from there to the journal."},
	{"mail_debug", Ignored, `Set mail_log = "debug" for more.`},
	{"auth_verbose", Ignored, "Failed logins are always logged, passwords never."},
	{"auth_debug", Ignored, `Set mail_log = "debug" for more.`},
	{"login_log_format", Ignored, "Log lines have their own form: see log_format."},
	{"deliver_log_format", Ignored, "Log lines have their own form: see log_format."},
	{"mail_log_prefix", Ignored, "Log lines have their own form: see log_format."},
	{"verbose_proctitle", Ignored, "There is one process."},
	{"verbose_ssl", Ignored, "Failures of TLS are logged with mail_log = \"debug\"."},
	{"shutdown_clients", Different, "A restart ends the sessions."},
	{"mail_privileged_group", Ignored, "The daemon runs as one user."},
	{"mail_access_groups", Ignored, "The daemon runs as one user: put it into the groups."},
	{"first_valid_", Ignored, "The daemon runs as one user."},
	{"last_valid_", Ignored, "The daemon runs as one user."},
	{"default_internal_", Ignored, "The daemon runs as one user."},
	{"default_login_user", Ignored, "The daemon runs as one user."},
	{"default_process_limit", Ignored, "There is one process: see max_connections of [imap]."},
	{"default_client_limit", Ignored, "There is one process: see max_connections of [imap]."},
	{"default_vsz_limit", Ignored, "Memory is bounded for each connection; MemoryMax= of systemd bounds the process."},
	{"valid_chroot_dirs", Ignored, "There is no chroot."},
	{"mail_chroot", NotSupported, "There is no chroot: paths are those of the system."},
	{"base_dir", Ignored, "See state_dir."},
	{"state_dir", Ignored, "It is for Dovecot's own files: state_dir of mailcryptd is another place."},
	{"instance_name", Ignored, "Instances have different files of configuration and different state_dir."},
	{"import_environment", Ignored, "The environment is not read."},
	{"mail_fsync", Different, "What is acknowledged has always been synced."},
	{"mmap_disable", Ignored, "Files are not mapped; bbolt dictionaries are, see docs/operations.md for NFS."},
	{"dotlock_use_excl", Ignored, "Locks are made in a way that works on NFS 3."},
	{"mail_nfs_", Ignored, "Metadata are read anew where it matters; let one server serve a user."},
	{"lock_method", Ignored, "It is for Dovecot's index files. A dictionary's is part of its name: file:PATH:lock=fcntl."},
	{"dict_file_lock_method", NotSupported, "The lock of the dictionary is part of its name: append :lock=fcntl or :lock=flock to mail_attribute_dict."},
	{"maildir_very_dirty_syncs", Different, "Directories are always looked at. While Dovecot shares the Maildirs turn it off there."},
	{"maildir_", Ignored, "It is about how fast Dovecot reads Maildirs."},
	{"mbox_", Ignored, "It is for mbox."},
	{"mdbox_", Ignored, "It is for mdbox."},
	{"mailbox_list_index", Ignored, "It is for Dovecot's index files."},
	{"mailbox_idle_check_interval", Ignored, "Changes are noticed at once."},
	{"mailbox_list_", NotSupported, "Names are stored as Maildir++ or LAYOUT=fs have them by default."},
	{"mail_cache_", Ignored, "It is for Dovecot's index files."},
	{"mail_always_cache_fields", Ignored, "It is for Dovecot's index files."},
	{"mail_never_cache_fields", Ignored, "It is for Dovecot's index files."},
	{"mail_index_", Ignored, "It is for Dovecot's index files."},
	{"mail_vsize_", Ignored, "It is for Dovecot's index files."},
	{"mail_sort_", Ignored, "It is about how Dovecot sorts."},
	{"mail_prefetch_count", Ignored, "It is about how fast Dovecot reads."},
	{"mail_save_crlf", Ignored, "Mail is stored with LF, and read with either."},
	{"mail_temp_", Ignored, "There are no temporary files."},
	{"mail_plugin_dir", Ignored, "There are no plugins."},
	{"mail_max_keyword_length", Different, "Keywords have up to 200 octets."},
	{"mail_max_lock_timeout", Ignored, "Locks are waited for as Dovecot does by default."},
	{"mail_attachment_", NotSupported, "Attachments stay in their messages; those that Dovecot has stored elsewhere are not read."},
	{"mail_ext_attachment_", NotSupported, "Attachments stay in their messages; those that Dovecot has stored elsewhere are not read."},
	{"mail_server_", NotSupported, "METADATA of the server is what users' dictionaries say."},
	{"mail_full_filesystem_access", NotSupported, "Names of folders are never paths."},
	{"mail_shared_explicit_inbox", Ignored, "Folders are not shared."},
	{"mail_compress_write_method", Ignored, "The plugin mail_compress is not loaded."},
	{"mail_attribute", NotSupported, "Keys are read from file:PATH or bolt:PATH alone."},
	{"compress_", Ignored, "It is for a method that is not used."},
	{"auth_mechanisms", Different, "PLAIN and LOGIN are offered, and no others."},
	{"auth_username_chars", Different, "Names have the characters of Dovecot's default."},
	{"auth_username_translation", NotSupported, "Characters of names are not replaced."},
	{"auth_default_realm", NotSupported, "No domain is added to a name: put it into username_format, such as %Ln@example.org."},
	{"auth_default_domain", NotSupported, "No domain is added to a name: put it into username_format."},
	{"auth_realms", NotSupported, "There are no realms."},
	{"auth_cache_", Ignored, "Nothing of passwords is kept; a session of the user may keep keys open, see keep_unlocked."},
	{"auth_policy_", NotSupported, "No policy server is asked. Failed logins are slowed by themselves."},
	{"auth_worker_", Ignored, "There is one process."},
	{"auth_ssl_", NotSupported, "Certificates of clients are not asked for."},
	{"auth_krb5_", NotSupported, "There is no Kerberos."},
	{"auth_gssapi_", NotSupported, "There is no Kerberos."},
	{"auth_use_winbind", NotSupported, "There is no NTLM."},
	{"auth_winbind_", NotSupported, "There is no NTLM."},
	{"auth_anonymous_username", NotSupported, "There are no anonymous logins."},
	{"auth_proxy_self", NotSupported, "Connections are not passed on."},
	{"auth_socket_path", Ignored, "There is one process."},
	{"auth_internal_failure_delay", Ignored, "A failure of the server is told at once."},
	{"auth_stats", Ignored, "See [metrics]."},
	{"ssl_dh", Ignored, "TLS 1.2 and above, with elliptic curves."},
	{"ssl_min_protocol", Different, "TLS 1.2 and above are offered."},
	{"ssl_protocols", Different, "TLS 1.2 and above are offered."},
	{"ssl_cipher", Different, "Go's choice of cipher suites is offered."},
	{"ssl_curve_list", Different, "Go's choice of curves is offered."},
	{"ssl_prefer_server_ciphers", Ignored, "Go's choice of cipher suites is offered, the server's order counts."},
	{"ssl_options", Ignored, "Go's choices are used."},
	{"ssl_client_", Ignored, "mailcryptd is no client."},
	{"ssl_ca", NotSupported, "Certificates of clients are not asked for."},
	{"ssl_verify_client_cert", NotSupported, "Certificates of clients are not asked for."},
	{"ssl_request_client_cert", NotSupported, "Certificates of clients are not asked for."},
	{"ssl_require_crl", NotSupported, "Certificates of clients are not asked for."},
	{"ssl_cert_username_field", NotSupported, "Certificates of clients are not asked for."},
	{"ssl_alt_", NotSupported, "There is one certificate."},
	{"ssl_crypto_device", Ignored, "Go's own cryptography is used."},
	{"ssl_server_", NotSupported, "There is one certificate, and Go's choices are used."},
	{"ssl_", Ignored, "TLS is not configured, or Go's choices are used."},
	{"ssl", Ignored, "TLS is served where [tls] is set."},
	{"disable_plaintext_auth", Ignored, "It is auth_allow_cleartext in 2.4."},
	{"listen", Ignored, "It is part of the addresses."},
	{"hostname", Ignored, "The system's name is used."},
	{"login_greeting", Different, "The greeting is fixed."},
	{"login_", Ignored, "There are no login processes."},
	{"imap_capability", NotSupported, "What is offered is fixed."},
	{"imap_client_workarounds", NotSupported, "Clients are answered by the RFC."},
	{"imap_idle_notify_interval", Ignored, "Connections are kept alive in their own interval."},
	{"imap_logout_format", Ignored, "Log lines have their own form: see log_format."},
	{"imap_id_", Different, "The answer to ID names the program and its version."},
	{"imap_hibernate_timeout", Ignored, "An idle connection takes 17 KiB without it."},
	{"imap_max_line_length", Different, "Command lines are bounded."},
	{"imap_fetch_failure", Different, "A message that cannot be read costs itself and nothing else."},
	{"imap_literal_minus", Ignored, "LITERAL+ is offered."},
	{"imap_urlauth_", NotSupported, "There is no URLAUTH."},
	{"imap_metadata", Ignored, "METADATA is off."},
	{"imapc_", NotSupported, "There is no storage on other servers."},
	{"pop3", NotSupported, "POP3 is not served."},
	{"submission_", NotSupported, "There is no submission service."},
	{"lmtp_save_to_detail_mailbox", NotSupported, "Mail goes to INBOX, whatever the detail of the address."},
	{"lmtp_hdr_delivery_address", Different, "Delivered-To has the recipient."},
	{"lmtp_rcpt_check_quota", Different, "A full user is always refused at RCPT."},
	{"lmtp_proxy", NotSupported, "Deliveries are not passed on."},
	{"lmtp_user_concurrency_limit", Ignored, "Deliveries to a user take turns where they must."},
	{"lmtp_", Ignored, "LMTP works as Dovecot's does by default."},
	{"lda_", NotSupported, "Deliver by LMTP."},
	{"postmaster_address", Ignored, "No bounces are sent: the mail server does that."},
	{"quota_full_tempfail", Ignored, "The quota plugin is not loaded."},
	{"quota_warning", NotSupported, "No script is run when a limit is near."},
	{"quota_over_", NotSupported, "No script is run for users above their quota."},
	{"quota_status_", NotSupported, "There is no policy service for Postfix: full users are refused at RCPT of LMTP."},
	{"quota_vsizes", Ignored, "Sizes are those of RFC822.SIZE."},
	{"quota_set", NotSupported, "SETQUOTA is not offered: limits are set in the configuration."},
	{"quota_clone_", NotSupported, "Usage is not written to a dictionary."},
	{"quota_mailbox_", NotSupported, "The number of folders, and of messages in one, is not limited."},
	{"quota_rule", Ignored, "It is not read by Dovecot either: a number before it is missing, or the plugin quota is not loaded."},
	{"quota", NotSupported, "There is one quota, of the user, whose mail is counted; or the plugin quota is not loaded."},
	{"quota2", NotSupported, "There is one quota."},
	{"mail_crypt_", Ignored, "Dovecot does not read it either: a number before it is missing, or it is no setting."},
	{"crypt_", NotSupported, "mailcryptd does not know it."},
	{"fs_crypt_", Ignored, "There are no such file systems."},
	{"zlib_", Ignored, "The plugin zlib is not loaded, or the method has no such setting."},
	{"sieve", NotSupported, "Scripts are not run: filter before LMTP."},
	{"managesieve_", NotSupported, "There is no ManageSieve."},
	{"imapsieve_", NotSupported, "Scripts are not run."},
	{"acl", NotSupported, "Folders are not shared."},
	{"fts", NotSupported, "Searches read the messages."},
	{"trash", NotSupported, "A full mailbox does not make room for itself."},
	{"lazy_expunge", NotSupported, "What is expunged is gone."},
	{"mail_log_", Ignored, "What clients do to messages is not logged."},
	{"push_notification", NotSupported, "Nobody is told of new mail but IMAP clients."},
	{"mail_replica", NotSupported, "Mail is not replicated."},
	{"replication_", NotSupported, "Mail is not replicated."},
	{"dsync_", NotSupported, "Mail is not replicated."},
	{"last_login_", NotSupported, "The last login is not kept."},
	{"director_", NotSupported, "Connections are not passed on."},
	{"doveadm_", Ignored, "doveadm-crypt speaks to the daemon by state_dir/admin.sock."},
	{"stats_", Ignored, "See [metrics]."},
	{"old_stats_", Ignored, "See [metrics]."},
	{"metric", Ignored, "See [metrics]."},
	{"event_exporter", Ignored, "See [metrics]."},
	{"rawlog_dir", NotSupported, "What clients send is never logged."},
	{"sendmail_path", Ignored, "mailcryptd sends no mail."},
	{"submission_host", Ignored, "mailcryptd sends no mail."},
	{"rejection_", Ignored, "mailcryptd sends no mail."},
	{"protocols", NotSupported, "IMAP and LMTP are served."},
	{"autoexpunge", NotSupported, "Nothing is expunged by age: let a client or a script do it."},
	{"mailbox_autoexpunge", NotSupported, "Nothing is expunged by age: let a client or a script do it."},
	{"comment", Ignored, "It is for METADATA of folders."},
	{"driver", NotSupported, "There is nothing like it."},
	{"recipient_delimiter", Ignored, "It counts for LMTP."},
	{"auth_allow_cleartext", Ignored, "It is disable_plaintext_auth in 2.3."},
	{"use_worker", Ignored, "There is one process."},
	{"passdb_use_", Ignored, "There is one process, and nothing is cached."},
	{"userdb_use_", Ignored, "There is one process, and nothing is cached."},
	{"executable", Ignored, "There is one process."},
	{"service_count", Ignored, "There is one process."},
	{"process_", Ignored, "There is one process."},
	{"client_limit", Ignored, "There is one process: see max_connections of [imap]."},
	{"vsz_limit", Ignored, "Memory is bounded for each connection."},
	{"chroot", Ignored, "There is one process."},
	{"user", Ignored, "The daemon runs as one user."},
	{"group", Ignored, "The daemon runs as one user."},
	{"mode", Ignored, "The service does not exist here."},
	{"port", Ignored, "The service does not exist here."},
}

// blocks are sections whose settings count for some clients only, or for what does not
// exist here.
var blocks = map[string]rule{
	"remote":         {"", NotSupported, "Settings do not depend on the client's address: here it does not count."},
	"local":          {"", NotSupported, "Settings do not depend on the server's address: here it does not count. Run a second instance with another configuration."},
	"local_name":     {"", NotSupported, "There is one certificate, for all names."},
	"dict":           {"", NotSupported, "There is no dict service: mail_attribute_dict names a file."},
	"event_exporter": {"", Ignored, "See [metrics]."},
	"metric":         {"", Ignored, "See [metrics]."},
}

// rest reports what nobody has taken.
func (c *converter) rest() { c.leftovers(c.root, nil) }

func (c *converter) leftovers(n *node, inside *rule) {
	for _, b := range n.below {
		if b.section {
			in := inside
			if r, ok := blocks[b.key]; ok && in == nil {
				in = &r
			}
			if b.key == "service" && in == nil {
				in = serviceRule(b.value)
			}
			if b.key == "protocol" && in == nil {
				in = protocolRule(b.value)
			}
			c.leftovers(b, in)
			continue
		}
		if b.used {
			continue
		}
		if inside != nil {
			c.report(b, inside.effect, "%s", inside.advice)
			continue
		}
		if r, ok := find(b.key); ok {
			c.report(b, r.effect, "%s", r.advice)
			continue
		}
		c.report(b, NotSupported, "mailcryptd does not know it.")
	}
}

func serviceRule(name string) *rule {
	switch name {
	case "imap-login", "imap", "lmtp", "auth", "auth-worker", "anvil", "config", "log", "stats", "dict", "doveadm", "health-check", "imap-hibernate", "old-stats", "ssl-params", "indexer", "indexer-worker", "dns_client", "dns-client", "ipc", "master", "tcpwrap":
		return &rule{"", Ignored, "There is one process; what is configured of it is in [imap] and [lmtp]."}
	}
	return &rule{"", NotSupported, "There is no such service."}
}

func protocolRule(name string) *rule {
	switch name {
	case "imap", "lmtp":
		return nil
	}
	return &rule{"", NotSupported, "The protocol is not served, or the setting counts for all protocols here."}
}

// find looks a setting up by the longest prefix; a prefix that does not end in "_" must
// end at one.
func find(key string) (best rule, ok bool) {
	for _, r := range known {
		rest, has := strings.CutPrefix(key, r.prefix)
		if !has || len(r.prefix) < len(best.prefix) {
			continue
		}
		if !strings.HasSuffix(r.prefix, "_") && rest != "" && rest[0] != '_' && (rest[0] < '0' || rest[0] > '9') {
			continue
		}
		best, ok = r, true
	}
	return best, ok
}

var (
	secretName  = regexp.MustCompile(`(?i)pass|secret|_key|nonce|token|header|credential|^key$|^connect$|uri|dsn`)
	secretValue = regexp.MustCompile(`(?i)pass|secret|token|nonce|key|BEGIN|://|@|hidden`)
	harmless    = regexp.MustCompile(`^(?i:yes|no|true|false|[0-9]{1,9} ?[a-z]{0,8}|)$`)
)

// shown is the value of a setting for a report. A setting that is not known may be a
// secret of a plugin's, and is not shown.
func shown(n *node) string {
	switch {
	case n.section || n.value == "" && n.form != hidden:
		return ""
	case n.form == hidden || secretName.MatchString(n.key):
		return "[hidden]"
	case n.form == fromFile:
		return clip("<" + n.value)
	case secretValue.MatchString(n.value):
		return "[hidden]"
	}
	if _, ok := find(n.key); ok || harmless.MatchString(n.value) || ours[n.key] {
		return clip(n.value)
	}
	return "[hidden]"
}

// ours are settings that are taken over, and hold no secrets.
var ours = map[string]bool{"mail_location": true, "mail_home": true, "mail_uid": true, "mail_gid": true, "separator": true, "prefix": true,
	"special_use": true, "args": true, "default_fields": true, "override_fields": true, "location": true, "mail_attribute_dict": true,
	"haproxy_trusted_networks": true, "username_format": true, "default_password_scheme": true, "auto": true, "mail_driver": true, "mail_path": true}

func clip(s string) string {
	if len(s) > 120 {
		return strings.ToValidUTF8(s[:120], "") + "..."
	}
	return s
}
