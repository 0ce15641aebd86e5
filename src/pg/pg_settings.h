/* Where the database is and who we are there: from a URL or key=value string and from PG* variables. Nothing is looked up
 * here, no file is read.
 *
 *     postgres://user:password@host:5432/name?sslmode=disable        postgresql:// is the same
 *     host=/run/postgresql user=me password='a\'b' dbname=items
 *
 * Precedence: the string, then the variables, then the defaults. Several hosts, files of passwords and services, and TLS
 * are refused by name. libpq, "Connection Strings" and "Environment Variables".
 *
 * Depends on: mem/span.h. Main thread; read-only afterwards. */
#ifndef RM_PG_SETTINGS_H
#define RM_PG_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/span.h"

enum {
    PG_SETTING_BYTES = 256, /* of a host, name, user, password, ... with its NUL; longer is refused */
    PG_OPTIONS_BYTES = 1024,
    PG_SETTINGS_WHY_BYTES = 512,
};

/* How the server may ask for a proof of who we are: bits, from require_auth. */
enum pg_auth_bit { PG_MAY_NONE = 1, PG_MAY_PASSWORD = 2, PG_MAY_MD5 = 4, PG_MAY_SCRAM = 8 };

/* Texts end with NUL. Invariant after pg_settings_finish: host, user and name are not empty; port is 1 .. 65535. */
struct pg_settings {
    char host[PG_SETTING_BYTES];      /* a name, an address, or the folder of a Unix socket (begins with '/' or '@') */
    char host_address[PG_SETTING_BYTES]; /* hostaddr: a numeric address to use instead of looking host up; or empty */
    uint16_t port;                    /* 5432 */
    char user[PG_SETTING_BYTES];
    char password[PG_SETTING_BYTES];  /* never printed */
    bool has_password;                /* an empty one is none */
    char name[PG_SETTING_BYTES];      /* the database */
    char application_name[64];
    bool has_application_name;        /* else the caller chooses one */
    char options[PG_OPTIONS_BYTES];   /* "-c statement_timeout=5s" */
    uint64_t connect_timeout_ns;      /* 10 s; libpq's 0 and negatives: no limit, which here is 1 h, as is what is above */
    unsigned may;                     /* set of enum pg_auth_bit; default: all but PG_MAY_PASSWORD */
    bool wants_tls;                   /* set by a call that returns false: what it asks for is fine, and not there yet */
    unsigned given;                   /* pg_settings.c's: which were set by the string */
};

void pg_settings_default(struct pg_settings *out);

/* Reads a string over what is there; an empty one says nothing. False: `why` names the parameter, says what is wrong and
 * how to mend it, and holds no part of a password. Refused by name: sslmode=require, verify-ca, verify-full (TLS is not
 * there yet: it never connects in plain text instead; also ssl=true, sslnegotiation=direct, channel_binding=require, files
 * of keys and certificates), several hosts or ports, service, passfile, target_session_attrs other than any,
 * load_balance_hosts other than disable, gssencmode=require, replication, client_encoding other than UTF8, unknown names,
 * contradictions (hostaddr that is none, port 0), bad or %00 escapes. sslmode=disable, allow and prefer (the default)
 * connect without TLS.
 *
 * Details of libpq: '+' is itself; the last of a repeated parameter wins; an IPv6 address is bracketed in a URL; an empty
 * port is the default; a host that is percent-encoded may be a folder; the user ends at the first ':' or '@'.
 * Not as libpq: blanks and control characters in a URL must be percent-encoded; so must '@', but for the one behind the
 * user and for those of ?key=value: where a '/' in a password cuts a URL apart, the rest must not become the name of a
 * host or a database, which are printed. require_auth with a '!' leaves out cleartext passwords, too: these have to be
 * allowed by name. */
[[gnu::warn_unused_result]] bool pg_settings_read(struct pg_settings *settings, struct span text,
                                                  char why[static PG_SETTINGS_WHY_BYTES]);

/* Fills in what the string left open from the variables PGHOST PGHOSTADDR PGPORT PGUSER PGPASSWORD PGDATABASE PGAPPNAME
 * PGOPTIONS PGCONNECT_TIMEOUT PGREQUIREAUTH PGSSLMODE PGCLIENTENCODING (and refuses by name PGSERVICE, PGPASSFILE,
 * PGTARGETSESSIONATTRS and the like, when they ask for what is not there), by `get` (getenv, or a test's). Empty ones say
 * nothing. PGHOSTADDR is for a host of the variables only: it doesn't redirect a host that the string names. False: as
 * pg_settings_read, with the name of the variable. */
[[gnu::warn_unused_result]] bool pg_settings_environment(struct pg_settings *settings, const char *(*get)(const char *name),
                                                         char why[static PG_SETTINGS_WHY_BYTES]);

/* The defaults of what nobody said: host /var/run/postgresql, user `os_user` (NULL or empty: there is none), name as the
 * user. False: there is no user; hostaddr beside a folder; a path of a socket that is too long; require_auth that can
 * never be fulfilled because there is no password. */
[[gnu::warn_unused_result]] bool pg_settings_finish(struct pg_settings *settings, const char *os_user,
                                                    char why[static PG_SETTINGS_WHY_BYTES]);

/* Whether host is the folder of a Unix socket. */
static inline bool pg_settings_is_folder(const struct pg_settings *settings) {
    return settings->host[0] == '/' || settings->host[0] == '@';
}

/* "postgres://user@host:port/name", without the password, at most `bytes` with its NUL: for logs. It can be read back:
 * "postgres://user@/name?host=/folder&port=5432" with a folder. Returns out. */
const char *pg_settings_text(const struct pg_settings *settings, char *out, size_t bytes);

/* The path of the socket, "FOLDER/.s.PGSQL.PORT" ('@' in front: an abstract one), when host is a folder; false when it is
 * none, or too long for `bytes` or for sun_path (108 with its NUL). */
[[gnu::warn_unused_result]] bool pg_settings_socket(const struct pg_settings *settings, char *out, size_t bytes);

#endif
