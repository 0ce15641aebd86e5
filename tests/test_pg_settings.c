/* Where the database is: URLs, key=value pairs, variables, defaults; what is refused, and that no password is in what is
 * said. With libpq at hand, the same strings are read by it. */
#include <stdio.h>
#include <stdlib.h>

#include "guard.h"
#include "pg/pg_settings.h"
#include "random.h"
#include "rows.h"

static struct pg_settings settings;
static char why[PG_SETTINGS_WHY_BYTES];
static struct guard guard;

static bool read_text(const char *text) {
    size_t len = strlen(text);
    memset(why, '?', sizeof why);
    pg_settings_default(&settings);
    return pg_settings_read(&settings, span_of(guard_copy(&guard, text, len), len), why);
}

/* ---------------------------------------------------------------------------------------------------- what is read ---- */

struct row {
    const char *text;
    const char *host, *user, *password, *name; /* NULL: empty */
    int port;
    const char *address;
};

static const struct row rows[] = {
    { "", NULL, NULL, NULL, NULL, 5432, NULL },
    { "postgres://", NULL, NULL, NULL, NULL, 5432, NULL },
    { "postgresql://", NULL, NULL, NULL, NULL, 5432, NULL },
    { "postgres:///", NULL, NULL, NULL, NULL, 5432, NULL },
    { "postgres://h", "h", NULL, NULL, NULL, 5432, NULL },
    { "postgresql://h:1", "h", NULL, NULL, NULL, 1, NULL },
    { "postgres://h:65535/", "h", NULL, NULL, NULL, 65535, NULL },
    { "postgres://h:/d", "h", NULL, NULL, "d", 5432, NULL },
    { "postgres://h:05433/d", "h", NULL, NULL, "d", 5433, NULL },
    { "postgres://u@h/d", "h", "u", NULL, "d", 5432, NULL },
    { "postgres://u:p@h:6543/d", "h", "u", "p", "d", 6543, NULL },
    { "postgres://u:@h/d", "h", "u", NULL, "d", 5432, NULL },
    { "postgres://:p@h/d", "h", NULL, "p", "d", 5432, NULL },
    { "postgres://@h/d", "h", NULL, NULL, "d", 5432, NULL },
    { "postgres://u:p@/d", NULL, "u", "p", "d", 5432, NULL },
    { "postgres://u:p:q@h", "h", "u", "p:q", NULL, 5432, NULL },                   /* the first ':' ends the user */
    { "postgres://u%3Ax:p%40%2F@h/d%2Fe", "h", "u:x", "p@/", "d/e", 5432, NULL },
    { "postgres://u:a+b@h/d+e", "h", "u", "a+b", "d+e", 5432, NULL },              /* '+' is itself */
    { "postgres://u:%2b%2B%c3%a9@h/", "h", "u", "++\xc3\xa9", NULL, 5432, NULL },
    { "postgres://u:p#1@h/d#e", "h", "u", "p#1", "d#e", 5432, NULL },              /* there are no fragments */
    { "postgres://u:p?x@h/d", "h", "u", "p?x", "d", 5432, NULL },
    { "postgres://[::1]/d", "::1", NULL, NULL, "d", 5432, NULL },
    { "postgres://u@[2001:db8::1]:1/d", "2001:db8::1", "u", NULL, "d", 1, NULL },
    { "postgres://[::1]?port=7", "::1", NULL, NULL, NULL, 7, NULL },
    { "postgres://%2Frun%2Fpg/d", "/run/pg", NULL, NULL, "d", 5432, NULL },
    { "postgres://%2Frun%2Fpg:6000/d", "/run/pg", NULL, NULL, "d", 6000, NULL },
    { "postgres://%40abstract/d", "@abstract", NULL, NULL, "d", 5432, NULL },
    { "postgres:///d?host=/run/pg", "/run/pg", NULL, NULL, "d", 5432, NULL },
    { "postgres://h?user=u&password=p%26q&dbname=d", "h", "u", "p&q", "d", 5432, NULL },
    { "postgres://a/b?host=c&dbname=e", "c", NULL, NULL, "e", 5432, NULL },         /* the last wins */
    { "postgres://h/d?user=me@realm", "h", "me@realm", NULL, "d", 5432, NULL },
    { "postgres://u@h/a@b", "h", "u", NULL, "a@b", 5432, NULL },
    { "postgres://h/d?p%6Frt=9", "h", NULL, NULL, "d", 9, NULL },
    { "postgres://h/d?hostaddr=192.0.2.7", "h", NULL, NULL, "d", 5432, "192.0.2.7" },
    { "postgres://h/d?port=", "h", NULL, NULL, "d", 5432, NULL },
    { "postgres://h/d?", "h", NULL, NULL, "d", 5432, NULL },
    { "postgres://h/d?port=1&", "h", NULL, NULL, "d", 1, NULL },
    { "postgres://?host=x", "x", NULL, NULL, NULL, 5432, NULL },
    { "host=h", "h", NULL, NULL, NULL, 5432, NULL },
    { "  host = h  port = 12 ", "h", NULL, NULL, NULL, 12, NULL },
    { "host=h\tuser=u\ndbname=d\n", "h", "u", NULL, "d", 5432, NULL },
    { "host='h' user='u' password='a\\'b' dbname='d'", "h", "u", "a'b", "d", 5432, NULL },
    { "user='u'dbname=d", NULL, "u", NULL, "d", 5432, NULL },
    { "password='two words' user=a\\ b", NULL, "a b", "two words", NULL, 5432, NULL },
    { "password=\\\\\\' user=u", NULL, "u", "\\'", NULL, 5432, NULL },
    { "password='\\\\x\\y'", NULL, NULL, "\\xy", NULL, 5432, NULL },
    { "password=a=b&c%20 user=%41", NULL, "%41", "a=b&c%20", NULL, 5432, NULL },   /* no escapes of URLs here */
    { "password=it's", NULL, NULL, "it's", NULL, 5432, NULL },
    { "user=u password='' dbname=''", NULL, "u", NULL, NULL, 5432, NULL },
    { "user=", NULL, NULL, NULL, NULL, 5432, NULL },
    { "host= user=u", "user=u", NULL, NULL, NULL, 5432, NULL },                    /* blanks behind '=' are skipped */
    { "host=a host=b", "b", NULL, NULL, NULL, 5432, NULL },
    { "user=a\\", NULL, "a", NULL, NULL, 5432, NULL },                             /* a lone one at the end is nothing */
    { "host=::1 port=1", "::1", NULL, NULL, NULL, 1, NULL },
    { "hostaddr=::1", NULL, NULL, NULL, NULL, 5432, "::1" },
    { "hostaddr=2001:db8:0:1:2:3:4:5", NULL, NULL, NULL, NULL, 5432, "2001:db8:0:1:2:3:4:5" },
    { "hostaddr=::ffff:192.0.2.1", NULL, NULL, NULL, NULL, 5432, "::ffff:192.0.2.1" },
    { "hostaddr=fe80::", NULL, NULL, NULL, NULL, 5432, "fe80::" },
    { "hostaddr=::", NULL, NULL, NULL, NULL, 5432, "::" },
    { "hostaddr=255.255.255.255", NULL, NULL, NULL, NULL, 5432, "255.255.255.255" },
    { "hostaddr=''", NULL, NULL, NULL, NULL, 5432, NULL },
    { "host=@sockets", "@sockets", NULL, NULL, NULL, 5432, NULL },
    { "sslmode=disable", NULL, NULL, NULL, NULL, 5432, NULL },
    { "sslmode=allow", NULL, NULL, NULL, NULL, 5432, NULL },
    { "sslmode=prefer sslmode=''", NULL, NULL, NULL, NULL, 5432, NULL },
    { "requiressl=0 gssencmode=prefer channel_binding=prefer", NULL, NULL, NULL, NULL, 5432, NULL },
    { "target_session_attrs=any client_encoding=utf8", NULL, NULL, NULL, NULL, 5432, NULL },
    { "sslrootcert='' service='' passfile=''", NULL, NULL, NULL, NULL, 5432, NULL },
};

static bool same(const char *is, const char *wanted) {
    return strcmp(is, wanted != NULL ? wanted : "") == 0;
}

static void test_read(void **state) {
    const struct row *row = *state;
    if (!read_text(row->text)) {
        fail_msg("refused: %s", why);
    }
    if (!same(settings.host, row->host) || !same(settings.user, row->user) || !same(settings.password, row->password) ||
        !same(settings.name, row->name) || settings.port != row->port || !same(settings.host_address, row->address)) {
        fail_msg("host '%s' address '%s' port %u user '%s' password '%s' name '%s'", settings.host, settings.host_address,
                 settings.port, settings.user, settings.password, settings.name);
    }
    assert_int_equal(settings.has_password, settings.password[0] != '\0');
    assert_false(settings.wants_tls);
}

/* ------------------------------------------------------------------------------------------------- what is refused ---- */

/* `secret` stands for what nobody may see: everything from there on. */
struct refusal {
    const char *text, *says;
    bool tls;
};

static const struct refusal refusals[] = {
    { "sslmode=require", "sslmode=require asks for TLS, which is not there yet", true },
    { "sslmode=verify-ca", "sslmode=verify-ca asks for TLS", true },
    { "postgres://h/d?sslmode=verify-full", "sslmode=verify-full asks for TLS", true },
    { "postgres://h/d?ssl=true", "ssl=true asks for TLS", true },
    { "requiressl=1", "requiressl=1 asks for TLS", true },
    { "sslnegotiation=direct", "sslnegotiation=direct asks for TLS", true },
    { "channel_binding=require", "channel_binding=require asks for TLS", true },
    { "sslrootcert=system", "sslrootcert asks for TLS", true },
    { "sslcert=x", "sslcert asks for TLS", true },
    { "sslpassword=secret", "sslpassword asks for TLS", true },
    { "ssl_min_protocol_version=TLSv1.2", "ssl_min_protocol_version asks for TLS", true },
    { "sslmode=requir", "sslmode: must be one of: disable allow prefer", false },
    { "gssencmode=require", "gssencmode=require: GSSAPI", false },
    { "krbsrvname=postgres", "krbsrvname: GSSAPI", false },
    { "target_session_attrs=read-write", "target_session_attrs=read-write: is not supported yet, because there is one host", false },
    { "target_session_attrs=some", "target_session_attrs: must be any", false },
    { "load_balance_hosts=random", "load_balance_hosts=random: is not supported yet", false },
    { "replication=database", "replication=database: a connection for replication", false },
    { "client_encoding=LATIN1", "client_encoding: must be one of: UTF8", false },
    { "client_encoding=auto", "client_encoding: must be", false },
    { "min_protocol_version=3.2", "min_protocol_version=3.2: version 3.0", false },
    { "requirepeer=postgres", "requirepeer: who runs", false },
    { "service=x", "service: no file is read", false },
    { "passfile=/x", "passfile: no file is read", false },
    { "keepalives_idle=3", "keepalives_idle: is not supported", false },
    { "scram_client_key=x", "scram_client_key: is not supported", false },
    { "host=a,b", "host: several hosts", false },
    { "postgres://a,b/d", "host: several hosts", false },
    { "postgres://a:1,b:2/d", "host: several hosts", false },
    { "postgres://[::1],[::2]/d", "host: several hosts", false },
    { "postgres://[::1]:1,b/d", "host: several hosts", false },
    { "postgres://a%2Cb/d", "host: several hosts", false },
    { "port=1,2", "port: several ports", false },
    { "hostaddr=127.0.0.1,127.0.0.2", "hostaddr: must be one numeric address", false },
    { "hostaddr=localhost", "hostaddr: must be one numeric address", false },
    { "hostaddr=127.0.0", "hostaddr: must be", false },
    { "hostaddr=127.0.0.256", "hostaddr: must be", false },
    { "hostaddr=127.0.0.1.", "hostaddr: must be", false },
    { "hostaddr=127.0.0.0001", "hostaddr: must be", false },
    { "hostaddr=1:2:3:4:5:6:7", "hostaddr: must be", false },
    { "hostaddr=1:2:3:4:5:6:7:8:9", "hostaddr: must be", false },
    { "hostaddr=1:2:3:4::5:6:7:8", "hostaddr: must be", false },
    { "hostaddr=1::2::3", "hostaddr: must be", false },
    { "hostaddr=:::", "hostaddr: must be", false },
    { "hostaddr=1:", "hostaddr: must be", false },
    { "hostaddr=:1", "hostaddr: must be", false },
    { "hostaddr=12345::", "hostaddr: must be", false },
    { "hostaddr=::g", "hostaddr: must be", false },
    { "hostaddr=1.2.3.4::", "hostaddr: must be", false },
    { "hostaddr=::1.2.3.4:1", "hostaddr: must be", false },
    { "port=0", "port: must be a number from 1 to 65535", false },
    { "port=65536", "port: must be a number", false },
    { "port=-1", "port: must be a number", false },
    { "port=http", "port: must be a number", false },
    { "postgres://h:99999/d", "port: must be a number", false },
    { "connect_timeout=soon", "connect_timeout: must be a number of seconds", false },
    { "require_auth=kerberos", "require_auth: must be a list", false },
    { "require_auth=md5,", "require_auth: must be a list", false },
    { "require_auth=,md5", "require_auth: must be a list", false },
    { "require_auth=md5,!none", "require_auth: must be a list", false },
    { "require_auth=!md5,none", "require_auth: must be a list", false },
    { "require_auth=!", "require_auth: must be a list", false },
    { "require_auth=gss", "require_auth: leaves no method", false },
    { "require_auth=!md5,!none,!scram-sha-256", "require_auth: leaves no method", false },
    { "colour=red", "unknown parameter colour", false },
    { "Host=h", "unknown parameter Host", false },
    { "postgres://h/d?colour=red", "unknown parameter colour", false },
    { "postgres://h/d?=red", "unknown parameter;", false },
    { "host", "must be a URL, postgres://USER@HOST/NAME, or key=value pairs", false },
    { "host h", "must be a URL", false },
    { "postgres:/h", "must be a URL", false },
    { "mysql://h/d", "must be a URL", false },
    { "Postgres://h/d", "must be a URL", false },
    { "=x", "unknown parameter;", false },
    { "password='secret", "a quote is not closed", false },
    { "password='secret\\'", "a quote is not closed", false },
    { "password=a secret", "must be a URL", false },
    { "password=a secret=b", "unknown parameter;", false },
    { "password=a host=b secret=c", "unknown parameter;", false },
    { "postgres://h/d?password=a&secret=b", "unknown parameter;", false },
    { "postgres://u:%zzsecret@h/d", "password: '%' must be followed", false },
    { "postgres://u:secret%@h/d", "password: '%' must be followed", false },
    { "postgres://u:secret%4@h/d", "password: '%' must be followed", false },
    { "postgres://u:secret%00@h/d", "password: '%' must be followed by two hexadecimal digits, and these not 00", false },
    { "postgres://%gg@h/d", "user: '%'", false },
    { "postgres://h%1/d", "host: '%'", false },
    { "postgres://h/d%", "dbname: '%'", false },
    { "postgres://h/d?user=%0x", "behind the '?', a '%'", false },
    { "postgres://h/d?us%=a", "behind the '?', a '%'", false },
    { "postgres://h/d?user", "behind the '?' stand key=value", false },
    { "postgres://h/d?user=a=b", "behind the '?' stand key=value", false },
    { "postgres://h/d?&user=a", "behind the '?' stand key=value", false },
    { "postgres://[::1/d", "host: an IPv6 address is written as", false },
    { "postgres://[]/d", "host: an IPv6 address is written as", false },
    { "postgres://[::1]x/d", "host: an IPv6 address is written as", false },
    { "postgres://u:s@secret@h/d", "host: an '@' in a user, a password", false },
    { "postgres://u:s/secret@h/d", "port: must be a number from 1 to 65535; a ':', '/' or '@'", false },
    { "postgres://u:1/secret@h/d", "a '/' in a user or a password must be written %2F", false },
    { "postgres://u:1/d?secret@h/d", "behind the '?' stand", false },
    { "postgres://u:1/d?secret=x@h/d", "unknown parameter;", false },
    { "postgres://u:secret /@h/d", "a blank or a control character", false },
    { "postgres://u:p@h/d\n", "a blank or a control character", false },
    { "dbname=postgres://u:secret@h/d", "dbname: is a URL", false },
    { "user=postgres://u:secret@h/d", "user: is a URL", false },
    { "host=postgres://u:secret@h/d", "host: is a URL", false },
    { "postgres:///?dbname=postgresql%3A%2F%2Fu%3Asecret@h", "dbname: is a URL", false },
};

static void test_refused(void **state) {
    const struct refusal *row = *state;
    assert_false(read_text(row->text));
    if (strncmp(why, row->says, strlen(row->says)) != 0) {
        fail_msg("says: %s", why);
    }
    assert_null(strstr(why, "secret"));
    assert_int_equal(settings.wants_tls, row->tls);
}

/* One byte more than a setting holds is refused, with its bound; the bound itself is taken. */
static void test_lengths(void **state) {
    (void)state;
    static const struct {
        const char *name, *bound;
        size_t max;
    } bounds[] = {
        { "host", "255", 255 },     { "user", "255", 255 }, { "password", "255", 255 },
        { "dbname", "255", 255 },   { "application_name", "63", 63 }, { "options", "1023", 1023 },
    };
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        for (size_t over = 0; over < 3; over++) {
            char text[1200];
            int n = snprintf(text, sizeof text, "%s=", bounds[i].name);
            size_t len = bounds[i].max + over;
            memset(text + n, 'x', len);
            text[(size_t)n + len] = '\0';
            assert_int_equal(read_text(text), over == 0);
            assert_true(over == 0 || strstr(why, "longer than") != NULL);
            assert_true(over != 1 || strstr(why, bounds[i].bound) != NULL);
        }
    }
    assert_int_equal(strlen(settings.options), 0);
}

static void test_nul(void **state) {
    (void)state;
    assert_false(pg_settings_read(&settings, SPAN("user=a\0b"), why));
    assert_string_equal(why, "a byte of it is NUL");
}

static void test_values(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t seconds;
    } timeouts[] = { { "", 10 }, { "connect_timeout=3", 3 }, { "connect_timeout=0", 3600 }, { "connect_timeout=-1", 3600 },
                     { "connect_timeout=3600", 3600 }, { "connect_timeout=9223372036854775807", 3600 },
                     { "connect_timeout=7 connect_timeout=''", 10 } };
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++) {
        assert_true(read_text(timeouts[i].text));
        assert_int_equal(settings.connect_timeout_ns, timeouts[i].seconds * 1000000000);
    }
    static const struct {
        const char *text;
        unsigned may;
    } methods[] = {
        { "", PG_MAY_NONE | PG_MAY_MD5 | PG_MAY_SCRAM },
        { "require_auth=''", PG_MAY_NONE | PG_MAY_MD5 | PG_MAY_SCRAM },
        { "require_auth=password", PG_MAY_PASSWORD },
        { "require_auth=none", PG_MAY_NONE },
        { "require_auth=scram-sha-256", PG_MAY_SCRAM },
        { "require_auth=md5,password,gss", PG_MAY_MD5 | PG_MAY_PASSWORD },
        { "require_auth=!none", PG_MAY_MD5 | PG_MAY_SCRAM },
        { "require_auth=!md5,!gss", PG_MAY_NONE | PG_MAY_SCRAM }, /* cleartext is allowed by name only */
    };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        assert_true(read_text(methods[i].text));
        assert_int_equal(settings.may, methods[i].may);
    }
    assert_true(read_text("postgres://h/d?options=-c%20statement_timeout%3D5s"));
    assert_string_equal(settings.options, "-c statement_timeout=5s");
    assert_true(read_text("fallback_application_name=a"));
    assert_string_equal(settings.application_name, "a");
    assert_true(read_text("fallback_application_name=a application_name=b"));
    assert_string_equal(settings.application_name, "b");
    assert_true(read_text("application_name=b fallback_application_name=a"));
    assert_string_equal(settings.application_name, "b");
    assert_true(settings.has_application_name);
    assert_true(read_text("application_name=''"));
    assert_false(settings.has_application_name);
}

/* --------------------------------------------------------------------------------------------------- environment ---- */

static const char *const *variables; /* name, value, ..., NULL */

static const char *get(const char *name) {
    for (const char *const *pair = variables; *pair != NULL; pair += 2) {
        if (strcmp(pair[0], name) == 0) {
            return pair[1];
        }
    }
    return NULL;
}

#define VARIABLES(...) (variables = (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

static void test_environment(void **state) {
    (void)state;
    VARIABLES("PGHOST", "h", "PGPORT", "7", "PGUSER", "u", "PGPASSWORD", "p", "PGDATABASE", "d", "PGAPPNAME", "a", "PGOPTIONS",
              "-c x=y", "PGCONNECT_TIMEOUT", "4", "PGREQUIREAUTH", "md5", "PGHOSTADDR", "127.0.0.1", "PGSSLMODE", "prefer",
              "PGCLIENTENCODING", "UTF8");
    assert_true(read_text(""));
    assert_true(pg_settings_environment(&settings, get, why));
    assert_string_equal(settings.host, "h");
    assert_string_equal(settings.host_address, "127.0.0.1");
    assert_int_equal(settings.port, 7);
    assert_string_equal(settings.user, "u");
    assert_string_equal(settings.password, "p");
    assert_true(settings.has_password);
    assert_string_equal(settings.name, "d");
    assert_string_equal(settings.application_name, "a");
    assert_string_equal(settings.options, "-c x=y");
    assert_int_equal(settings.connect_timeout_ns, 4000000000);
    assert_int_equal(settings.may, PG_MAY_MD5);
    assert_true(read_text("postgres://v:q@i:8/e?application_name=b&options=o&connect_timeout=5&require_auth=none"));
    assert_true(pg_settings_environment(&settings, get, why));
    assert_string_equal(settings.host, "i");
    assert_string_equal(settings.host_address, ""); /* of another host */
    assert_int_equal(settings.port, 8);
    assert_string_equal(settings.user, "v");
    assert_string_equal(settings.password, "q");
    assert_string_equal(settings.name, "e");
    assert_string_equal(settings.application_name, "b");
    assert_string_equal(settings.options, "o");
    assert_int_equal(settings.connect_timeout_ns, 5000000000);
    assert_int_equal(settings.may, PG_MAY_NONE);
    assert_true(read_text("port='' fallback_application_name=f"));
    assert_true(pg_settings_environment(&settings, get, why));
    assert_int_equal(settings.port, 5432); /* an empty port is given, too */
    assert_string_equal(settings.application_name, "a");
}

struct variable_row {
    const char *name, *value, *text;
    const char *says; /* NULL: fine */
    bool tls;
};

static const struct variable_row variable_rows[] = {
    { "PGSSLMODE", "require", "", "PGSSLMODE=require asks for TLS", true },
    { "PGSSLMODE", "require", "sslmode=disable", NULL, false },
    { "PGSSLMODE", "", "", NULL, false },
    { "PGREQUIRESSL", "1", "", "PGREQUIRESSL=1 asks for TLS", true },
    { "PGREQUIRESSL", "1", "sslmode=prefer", NULL, false },
    { "PGSSLNEGOTIATION", "direct", "", "PGSSLNEGOTIATION=direct asks for TLS", true },
    { "PGCHANNELBINDING", "require", "", "PGCHANNELBINDING=require asks for TLS", true },
    { "PGSSLROOTCERT", "/x", "", NULL, false }, /* nothing without TLS */
    { "PGSERVICE", "x", "", "PGSERVICE: no file is read", false },
    { "PGPASSFILE", "x", "", "PGPASSFILE: no file is read", false },
    { "PGPASSFILE", "x", "password=y", NULL, false },
    { "PGTARGETSESSIONATTRS", "primary", "", "PGTARGETSESSIONATTRS=primary: is not supported yet", false },
    { "PGTARGETSESSIONATTRS", "any", "", NULL, false },
    { "PGLOADBALANCEHOSTS", "random", "", "PGLOADBALANCEHOSTS=random: is not", false },
    { "PGGSSENCMODE", "require", "", "PGGSSENCMODE=require: GSSAPI", false },
    { "PGGSSENCMODE", "prefer", "", NULL, false },
    { "PGREQUIREPEER", "x", "", "PGREQUIREPEER: who runs", false },
    { "PGCLIENTENCODING", "LATIN1", "", "PGCLIENTENCODING: must be", false },
    { "PGMINPROTOCOLVERSION", "3.2", "", "PGMINPROTOCOLVERSION=3.2: version 3.0", false },
    { "PGPORT", "0", "", "PGPORT: must be a number", false },
    { "PGPORT", "0", "port=1", NULL, false },
    { "PGHOST", "a,b", "", "PGHOST: several hosts", false },
    { "PGHOST", "", "", NULL, false },
    { "PGHOSTADDR", "secret", "", "PGHOSTADDR: must be one", false },
    { "PGCONNECT_TIMEOUT", "secret", "", "PGCONNECT_TIMEOUT: must be", false },
    { "PGDATABASE", "postgres://u:secret@h/d", "", "PGDATABASE: is a URL", false },
    { "PGREQUIREAUTH", "gss", "", "PGREQUIREAUTH: leaves no", false },
};

static void test_variable(void **state) {
    const struct variable_row *row = *state;
    VARIABLES(row->name, row->value);
    assert_true(read_text(row->text));
    assert_int_equal(pg_settings_environment(&settings, get, why), row->says == NULL);
    assert_int_equal(settings.wants_tls, row->tls);
    if (row->says != NULL && strncmp(why, row->says, strlen(row->says)) != 0) {
        fail_msg("says: %s", why);
    }
    assert_null(strstr(why, "secret"));
}

/* ------------------------------------------------------------------------------------------- what it all comes to ---- */

static void test_finish(void **state) {
    (void)state;
    assert_true(read_text(""));
    assert_true(pg_settings_finish(&settings, "me", why));
    assert_string_equal(settings.host, "/var/run/postgresql");
    assert_string_equal(settings.user, "me");
    assert_string_equal(settings.name, "me");
    assert_true(read_text("user=you"));
    assert_true(pg_settings_finish(&settings, NULL, why));
    assert_string_equal(settings.name, "you");
    assert_true(read_text("user=you dbname=d host=h"));
    assert_true(pg_settings_finish(&settings, "me", why));
    assert_string_equal(settings.user, "you");
    assert_string_equal(settings.name, "d");
    assert_string_equal(settings.host, "h");
    assert_true(read_text("hostaddr=::1"));
    assert_true(pg_settings_finish(&settings, "me", why));
    assert_string_equal(settings.host, "::1");
}

static void refused_at_the_end(const char *text, const char *user, const char *says) {
    assert_true(read_text(text));
    assert_false(pg_settings_finish(&settings, user, why));
    if (strstr(why, says) == NULL) {
        fail_msg("'%s' says: %s", text, why);
    }
}

static void test_contradictions(void **state) {
    (void)state;
    char folder[120] = "host=/", user[400];
    memset(folder + 6, 'x', 107 - sizeof "/.s.PGSQL.5432");
    assert_true(read_text(folder)); /* a path of 107 bytes and its NUL */
    assert_true(pg_settings_finish(&settings, "me", why));
    strcat(folder, "x");
    refused_at_the_end(folder, "me", "the path of the socket");
    refused_at_the_end("", NULL, "user: nobody says");
    refused_at_the_end("", "", "user: nobody says");
    refused_at_the_end("hostaddr=127.0.0.1 host=/tmp", "me", "hostaddr: contradicts host");
    refused_at_the_end("require_auth=scram-sha-256 user=u", "me", "require_auth: allows only what needs a password");
    memset(user, 'u', sizeof user - 1);
    user[sizeof user - 1] = '\0';
    refused_at_the_end("", user, "user: is longer than 255 bytes");
}

struct text_row {
    const char *text, *shown;
};
static const struct text_row text_rows[] = {
    { "postgres://u:secret@h:1/d", "postgres://u@h:1/d" },
    { "postgres://u:secret@[::1]/d", "postgres://u@[::1]:5432/d" },
    { "user=u password=secret host=/run/a@b dbname=d port=65535", "postgres://u@/d?host=/run/a@b&port=65535" },
    { "user='a b/\\\\' password=secret host=h dbname='\n\"'", "postgres://a%20b%2F%5C@h:5432/%0A%22" },
    { "user=u host=@x password=secret dbname=\xc3\xa9", "postgres://u@/%C3%A9?host=@x&port=5432" },
};

static void test_text(void **state) {
    const struct text_row *row = *state;
    char text[2048], again[2048];
    assert_true(read_text(row->text));
    assert_true(pg_settings_finish(&settings, "me", why));
    assert_string_equal(pg_settings_text(&settings, text, sizeof text), row->shown);
    struct pg_settings before = settings;
    assert_true(read_text(text)); /* it is a URL */
    assert_string_equal(pg_settings_text(&settings, again, sizeof again), text);
    assert_string_equal(settings.host, before.host);
    assert_string_equal(settings.user, before.user);
    assert_string_equal(settings.name, before.name);
    for (size_t room = 1; room <= strlen(text) + 1; room++) {
        char *short_text = guard_copy(&guard, again, room);
        pg_settings_text(&before, short_text, room);
        assert_int_equal(strlen(short_text), room - 1);
        assert_memory_equal(short_text, text, room - 1);
    }
}

static void test_socket(void **state) {
    (void)state;
    char path[200];
    assert_true(read_text("host=/run/postgresql"));
    assert_true(pg_settings_is_folder(&settings));
    assert_true(pg_settings_socket(&settings, path, sizeof path));
    assert_string_equal(path, "/run/postgresql/.s.PGSQL.5432");
    assert_true(pg_settings_socket(&settings, path, strlen(path) + 1));
    assert_false(pg_settings_socket(&settings, path, strlen(path)));
    assert_true(read_text("host=@a port=1"));
    assert_true(pg_settings_socket(&settings, path, sizeof path));
    assert_string_equal(path, "@a/.s.PGSQL.1");
    char folder[120] = "host=/";
    memset(folder + 6, 'x', 108 - sizeof "/.s.PGSQL.5432");
    assert_true(read_text(folder));
    assert_false(pg_settings_socket(&settings, path, sizeof path)); /* 108 bytes: sun_path has no room for its NUL */
    folder[strlen(folder) - 1] = '\0';
    assert_true(read_text(folder));
    assert_true(pg_settings_socket(&settings, path, sizeof path));
    assert_true(read_text("host=localhost"));
    assert_false(pg_settings_is_folder(&settings));
    assert_false(pg_settings_socket(&settings, path, sizeof path));
}

/* --------------------------------------------------------------------------------------------- compared with libpq ---- */

#ifdef RM_LIBPQ
#include <libpq-fe.h>

static const char *value_of(const PQconninfoOption *options, const char *name) {
    for (; options->keyword != NULL; options++) {
        if (strcmp(options->keyword, name) == 0) {
            return options->val != NULL ? options->val : "";
        }
    }
    return "";
}

/* What we take, libpq takes, and reads the same. Returns whether both did. */
static bool compare(const char *text) {
    char *error = NULL, port[16];
    bool ours = read_text(text);
    PQconninfoOption *theirs = PQconninfoParse(text, &error);
    if (ours && theirs == NULL) {
        fail_msg("'%s': libpq refuses: %s", text, error);
    }
    PQfreemem(error);
    if (!ours || theirs == NULL) {
        PQconninfoFree(theirs);
        return false;
    }
    const char *their_port = value_of(theirs, "port");
    snprintf(port, sizeof port, "%u", settings.port);
    bool equal = strcmp(settings.host, value_of(theirs, "host")) == 0 &&
                 strcmp(settings.host_address, value_of(theirs, "hostaddr")) == 0 &&
                 strcmp(settings.user, value_of(theirs, "user")) == 0 &&
                 strcmp(settings.password, value_of(theirs, "password")) == 0 &&
                 strcmp(settings.name, value_of(theirs, "dbname")) == 0 &&
                 strcmp(settings.application_name, value_of(theirs, "application_name")) == 0 &&
                 strcmp(settings.options, value_of(theirs, "options")) == 0 &&
                 settings.port == (*their_port != '\0' ? atoi(their_port) : 5432);
    if (!equal) {
        fail_msg("'%s': host '%s' '%s', port %s '%s', user '%s' '%s', password '%s' '%s', dbname '%s' '%s'", text, settings.host,
                 value_of(theirs, "host"), port, their_port, settings.user, value_of(theirs, "user"), settings.password,
                 value_of(theirs, "password"), settings.name, value_of(theirs, "dbname"));
    }
    PQconninfoFree(theirs);
    return true;
}

static void test_libpq_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(compare(rows[i].text));
    }
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        assert_false(compare(refusals[i].text));
    }
}

/* Texts made of pieces that matter to one of the two forms. */
static void make_text(struct random *random, char *out) {
    static const char *const pieces[] = {
        "h", "user", "=", ":", "@", "/", "?", "&", "[", "]", "::1", "5432", "%2F", "%41", "%", "%00", "%zz", "'", "\\", ",",
        "+", "#", "password", "dbname", "host", "port", "options", "application_name", "?user=", "&password=", "&dbname=", "a",
        "b", "\xc3\xa9", "hostaddr=127.0.0.1",
    };
    static const char *const blanks[] = { " ", "\t", "\n", " = ", "user=", " host=", " password='", "' dbname=", " port=1" };
    static const char *const starts[] = { "postgres://", "postgresql://", "postgres://u:p@", "", "host=", "user='" };
    uint32_t start = random_below(random, sizeof starts / sizeof *starts), n = random_below(random, 14);
    strcpy(out, starts[start]);
    while (n-- > 0) {
        bool blank = start > 2 && random_below(random, 3) == 0;
        strcat(out, blank ? blanks[random_below(random, sizeof blanks / sizeof *blanks)]
                          : pieces[random_below(random, sizeof pieces / sizeof *pieces)]);
    }
}

static void test_libpq_random(void **state) {
    (void)state;
    struct random random = random_seeded("libpq");
    uint32_t both = 0;
    char text[512];
    for (int i = 0; i < 20000; i++) {
        make_text(&random, text);
        both += compare(text);
    }
    assert_true(both > 1000); /* else the comparison says little */
}
#else
static void test_libpq_skipped(void **state) {
    (void)state;
    print_message("libpq-dev is not installed: nothing to compare with\n");
    skip();
}
#endif

int main(void) {
    static struct rows all;
    guard = guard_open(8192);
    ROWS_ADD(&all, test_read, rows);
    ROWS_ADD(&all, test_refused, refusals);
    ROWS_ADD(&all, test_variable, variable_rows);
    ROWS_ADD(&all, test_text, text_rows);
    ROWS_TEST(&all, test_lengths);
    ROWS_TEST(&all, test_nul);
    ROWS_TEST(&all, test_values);
    ROWS_TEST(&all, test_environment);
    ROWS_TEST(&all, test_finish);
    ROWS_TEST(&all, test_contradictions);
    ROWS_TEST(&all, test_socket);
#ifdef RM_LIBPQ
    ROWS_TEST(&all, test_libpq_rows);
    ROWS_TEST(&all, test_libpq_random);
#else
    ROWS_TEST(&all, test_libpq_skipped);
#endif
    int failed = rows_run("pg_settings", &all);
    guard_close(&guard);
    return failed;
}
