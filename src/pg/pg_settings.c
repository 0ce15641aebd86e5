#include "pg/pg_settings.h"

#include <stdarg.h>

#include "mem/assert.h"
#include "pg/pg_settings_priv.h"

static const uint64_t second_ns = 1000000000;
enum { TIMEOUT_SECONDS = 10, TIMEOUT_SECONDS_MAX = 3600, PORT = 5432, SOCKET_PATH_BYTES = 108 };

/* One parameter of a connection string. `as` is how the user calls it: its name, or its variable. */
struct parameter {
    const char *name;
    const char *variable; /* NULL: it has none */
    bool (*take)(struct pg_settings *settings, const struct parameter *parameter, const char *as, struct span value, char *why);
    size_t offset, room;  /* take_text: where, and how many bytes with the NUL */
    const char *words;    /* take_word: values that are fine, with a blank between them; first the one to advise */
    const char *later;    /* take_word: those that ask for what is not there */
    const char *because;  /* what is said then; take_never: of every value. NULL: it is TLS */
};

bool pg_settings_say(char *why, const char *first, ...) {
    size_t len = 0;
    va_list parts;
    va_start(parts, first);
    for (const char *part = first; part != NULL; part = va_arg(parts, const char *)) {
        size_t room = PG_SETTINGS_WHY_BYTES - 1 - len;
        size_t n = strlen(part) < room ? strlen(part) : room;
        memcpy(why + len, part, n);
        len += n;
    }
    va_end(parts);
    why[len] = '\0';
    return false;
}

static bool refuse(struct pg_settings *settings, const struct parameter *parameter, const char *as, const char *value,
                   char *why) {
    settings->wants_tls = parameter->because == NULL;
    const char *equals = *value != '\0' ? "=" : "";
    if (parameter->because != NULL) {
        return pg_settings_say(why, as, equals, value, ": ", parameter->because, NULL);
    }
    return pg_settings_say(why, as, equals, value,
                           " asks for TLS, which is not there yet; nothing is sent in plain text instead. Where the network "
                           "is trusted, leave it out or say sslmode=disable", NULL);
}

/* ------------------------------------------------------------------------------------------------------- readers ---- */

static bool copy_text(char *out, size_t room, const char *as, struct span value, char *why) {
    if (value.len >= room) {
        char digits[] = "0000";
        for (size_t i = sizeof digits - 1, n = room - 1; i > 0; i--, n /= 10) {
            digits[i - 1] = (char)('0' + n % 10);
        }
        return pg_settings_say(why, as, ": is longer than ", digits + strspn(digits, "0"), " bytes", NULL);
    }
    memcpy(out, value.data, value.len);
    out[value.len] = '\0';
    return true;
}

static bool take_text(struct pg_settings *settings, const struct parameter *parameter, const char *as, struct span value,
                      char *why) {
    return copy_text((char *)settings + parameter->offset, parameter->room, as, value, why);
}

/* What is shown in logs: a connection string in its place holds a password, perhaps. */
static bool take_shown(struct pg_settings *settings, const struct parameter *parameter, const char *as, struct span value,
                       char *why) {
    if (span_equal(span_first(value, 11), SPAN("postgres://")) || span_equal(span_first(value, 13), SPAN("postgresql://"))) {
        return pg_settings_say(why, as, ": is a URL: give the URL alone", NULL);
    }
    return take_text(settings, parameter, as, value, why);
}

static bool take_host(struct pg_settings *settings, const struct parameter *parameter, const char *as, struct span value,
                      char *why) {
    if (memchr(value.data, ',', value.len) != NULL) {
        return pg_settings_say(why, as, ": several hosts are not supported yet: name one", NULL);
    }
    return take_shown(settings, parameter, as, value, why);
}

static bool take_address(struct pg_settings *settings, const struct parameter *parameter, const char *as, struct span value,
                         char *why) {
    if (value.len > 0 && !pg_settings_is_address(value)) {
        return pg_settings_say(why, as, ": must be one numeric address, as 192.0.2.1 or 2001:db8::1; a name belongs into host",
                               NULL);
    }
    return take_text(settings, parameter, as, value, why);
}

static bool take_port(struct pg_settings *settings, const struct parameter *parameter, const char *as, struct span value,
                      char *why) {
    (void)parameter;
    uint64_t port = PORT;
    if (memchr(value.data, ',', value.len) != NULL) {
        return pg_settings_say(why, as, ": several ports are not supported yet: name one", NULL);
    }
    if (value.len > 0 && (!span_u64(value, &port) || port < 1 || port > 65535)) {
        return pg_settings_say(why, as, ": must be a number from 1 to 65535; a ':', '/' or '@' in a user or a password is "
                                        "written %3A, %2F or %40", NULL);
    }
    settings->port = (uint16_t)port;
    return true;
}

static bool take_password(struct pg_settings *settings, const struct parameter *parameter, const char *as, struct span value,
                          char *why) {
    settings->has_password = value.len > 0;
    return take_text(settings, parameter, as, value, why);
}

static bool take_application(struct pg_settings *settings, const struct parameter *parameter, const char *as,
                             struct span value, char *why) {
    settings->has_application_name = value.len > 0;
    return take_text(settings, parameter, as, value, why);
}

static bool take_timeout(struct pg_settings *settings, const struct parameter *parameter, const char *as, struct span value,
                         char *why) {
    (void)parameter;
    int64_t seconds = TIMEOUT_SECONDS;
    if (value.len > 0 && !span_i64(value, &seconds)) {
        return pg_settings_say(why, as, ": must be a number of seconds; 0 is no limit", NULL);
    }
    bool endless = seconds <= 0 || seconds > TIMEOUT_SECONDS_MAX;
    settings->connect_timeout_ns = (endless ? TIMEOUT_SECONDS_MAX : (uint64_t)seconds) * second_ns;
    return true;
}

/* ------------------------------------------------------------------------------------------------- lists of words ---- */

/* Takes the next word off the front of a list; empty: there is none. */
static struct span next_word(struct span *list, char separator) {
    const char *end = list->len > 0 ? memchr(list->data, separator, list->len) : NULL;
    struct span word = end != NULL ? span_of(list->data, (size_t)(end - list->data)) : *list;
    *list = span_from(*list, word.len + 1);
    return word;
}

/* The word of the list that equals `value` but for the case of its letters; into `out`, for a sentence. */
static bool find_word(const char *words, struct span value, char out[static 32]) {
    struct span list = span_text(words);
    while (list.len > 0) {
        struct span word = next_word(&list, ' ');
        if (span_equal_nocase(word, value)) {
            rm_assert(word.len < 32);
            memcpy(out, word.data, word.len);
            out[word.len] = '\0';
            return true;
        }
    }
    return false;
}

static bool take_word(struct pg_settings *settings, const struct parameter *parameter, const char *as, struct span value,
                      char *why) {
    char word[32];
    if (value.len == 0 || find_word(parameter->words, value, word)) {
        return true;
    }
    if (find_word(parameter->later, value, word)) {
        return refuse(settings, parameter, as, word, why);
    }
    const char *more = strchr(parameter->words, ' ') != NULL ? ": must be one of: " : ": must be ";
    return pg_settings_say(why, as, more, parameter->words, NULL);
}

static bool take_never(struct pg_settings *settings, const struct parameter *parameter, const char *as, struct span value,
                       char *why) {
    return value.len == 0 || refuse(settings, parameter, as, "", why);
}

struct method {
    struct span name;
    unsigned bit; /* 0: libpq knows it, we don't */
};
static const struct method methods[] = {
    { SPAN("scram-sha-256"), PG_MAY_SCRAM }, { SPAN("md5"), PG_MAY_MD5 }, { SPAN("password"), PG_MAY_PASSWORD },
    { SPAN("none"), PG_MAY_NONE },           { SPAN("gss"), 0 },          { SPAN("sspi"), 0 },
    { SPAN("oauth"), 0 },
};

static const struct method *find_method(struct span name) {
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (span_equal(methods[i].name, name)) {
            return &methods[i];
        }
    }
    return NULL;
}

static const unsigned may_by_default = PG_MAY_NONE | PG_MAY_MD5 | PG_MAY_SCRAM;

/* "md5,scram-sha-256": these only; "!md5,!none": all of the default but these. */
static bool take_methods(struct pg_settings *settings, const struct parameter *parameter, const char *as, struct span value,
                         char *why) {
    (void)parameter;
    bool negative = value.len > 0 && value.data[0] == '!';
    unsigned may = negative || value.len == 0 ? may_by_default : 0;
    bool more = value.len > 0;
    while (more) {
        more = memchr(value.data, ',', value.len) != NULL;
        struct span word = next_word(&value, ',');
        bool has_mark = word.len > 0 && word.data[0] == '!';
        const struct method *method = find_method(span_from(word, has_mark));
        if (method == NULL || has_mark != negative) {
            return pg_settings_say(why, as, ": must be a list of scram-sha-256, md5, password, none with commas between them, "
                                            "all or none of them with a '!' in front", NULL);
        }
        may = negative ? may & ~method->bit : may | method->bit;
    }
    if (may == 0) {
        return pg_settings_say(why, as, ": leaves no method that is supported: scram-sha-256, md5, password or none", NULL);
    }
    settings->may = may;
    return true;
}

/* --------------------------------------------------------------------------------------------------- parameters ---- */

static const char one_host[] = "is not supported yet, because there is one host only: leave it out";
static const char no_files[] = "no file is read for settings or passwords: give them in the URL or in variables (PGPASSWORD)";
static const char no_gss[] = "GSSAPI is not supported: leave it out";
static const char no_key[] = "is not supported: give the password";
static const char no_tuning[] = "is not supported: leave it out";
static const char no_replication[] = "a connection for replication answers no queries: leave it out";
static const char no_peer[] = "who runs the server is not checked: leave it out";
static const char old_protocol[] = "version 3.0 of the protocol is what is spoken: say 3.0 or leave it out";

#define TEXT(member) .offset = offsetof(struct pg_settings, member), .room = sizeof(((struct pg_settings *)NULL)->member)

/* Those with a variable first: their places in the table are the bits of `given`. */
static const struct parameter parameters[] = {
    { "host", "PGHOST", .take = take_host, TEXT(host) },
    { "hostaddr", "PGHOSTADDR", .take = take_address, TEXT(host_address) },
    { "port", "PGPORT", .take = take_port },
    { "user", "PGUSER", .take = take_shown, TEXT(user) },
    { "password", "PGPASSWORD", .take = take_password, TEXT(password) },
    { "dbname", "PGDATABASE", .take = take_shown, TEXT(name) },
    { "application_name", "PGAPPNAME", .take = take_application, TEXT(application_name) },
    { "options", "PGOPTIONS", .take = take_text, TEXT(options) },
    { "connect_timeout", "PGCONNECT_TIMEOUT", .take = take_timeout },
    { "require_auth", "PGREQUIREAUTH", .take = take_methods },
    { "sslmode", "PGSSLMODE", .take = take_word, .words = "disable allow prefer", .later = "require verify-ca verify-full" },
    { "requiressl", "PGREQUIRESSL", .take = take_word, .words = "0", .later = "1" },
    { "sslnegotiation", "PGSSLNEGOTIATION", .take = take_word, .words = "postgres", .later = "direct" },
    { "channel_binding", "PGCHANNELBINDING", .take = take_word, .words = "disable prefer", .later = "require" },
    { "gssencmode", "PGGSSENCMODE", .take = take_word, .words = "disable prefer", .later = "require", .because = no_gss },
    { "target_session_attrs", "PGTARGETSESSIONATTRS", .take = take_word, .words = "any",
      .later = "read-write read-only primary standby prefer-standby", .because = one_host },
    { "load_balance_hosts", "PGLOADBALANCEHOSTS", .take = take_word, .words = "disable", .later = "random",
      .because = one_host },
    { "client_encoding", "PGCLIENTENCODING", .take = take_word, .words = "UTF8 UTF-8 unicode", .later = "" },
    { "min_protocol_version", "PGMINPROTOCOLVERSION", .take = take_word, .words = "3.0", .later = "3.2 latest",
      .because = old_protocol },
    { "max_protocol_version", "PGMAXPROTOCOLVERSION", .take = take_word, .words = "3.0 3.2 latest", .later = "" },
    { "requirepeer", "PGREQUIREPEER", .take = take_never, .because = no_peer },
    { "service", "PGSERVICE", .take = take_never, .because = no_files },
    { "passfile", "PGPASSFILE", .take = take_never, .because = no_files },
    { "servicefile", NULL, .take = take_never, .because = no_files },
    { "ssl", NULL, .take = take_word, .words = "false", .later = "true" },
    { "sslcert", NULL, .take = take_never },
    { "sslkey", NULL, .take = take_never },
    { "sslpassword", NULL, .take = take_never },
    { "sslcertmode", NULL, .take = take_word, .words = "disable allow", .later = "require" },
    { "sslrootcert", NULL, .take = take_never },
    { "sslcrl", NULL, .take = take_never },
    { "sslcrldir", NULL, .take = take_never },
    { "sslsni", NULL, .take = take_never },
    { "sslcompression", NULL, .take = take_word, .words = "0", .later = "1" },
    { "ssl_min_protocol_version", NULL, .take = take_never },
    { "ssl_max_protocol_version", NULL, .take = take_never },
    { "replication", NULL, .take = take_word, .words = "false off no 0", .later = "true on yes 1 database",
      .because = no_replication },
    { "krbsrvname", NULL, .take = take_never, .because = no_gss },
    { "gsslib", NULL, .take = take_never, .because = no_gss },
    { "gssdelegation", NULL, .take = take_word, .words = "0", .later = "1", .because = no_gss },
    { "scram_client_key", NULL, .take = take_never, .because = no_key },
    { "scram_server_key", NULL, .take = take_never, .because = no_key },
    { "keepalives", NULL, .take = take_never, .because = no_tuning },
    { "keepalives_idle", NULL, .take = take_never, .because = no_tuning },
    { "keepalives_interval", NULL, .take = take_never, .because = no_tuning },
    { "keepalives_count", NULL, .take = take_never, .because = no_tuning },
    { "tcp_user_timeout", NULL, .take = take_never, .because = no_tuning },
};
enum { HOST, HOSTADDR, PORT_NUMBER, USER, PASSWORD, NAME, APPLICATION, SSLMODE = 10, REQUIRESSL, PASSFILE = 22 };
enum { PARAMETERS_COUNT = sizeof parameters / sizeof *parameters };

static bool is_given(const struct pg_settings *settings, unsigned which) {
    return (settings->given & 1u << which) != 0;
}

/* A name is shown when it looks like one. */
static bool unknown(struct span name, bool hide, char *why) {
    char text[32];
    bool plain = name.len > 0 && name.len < sizeof text && !hide;
    for (size_t i = 0; i < name.len && plain; i++) {
        char c = name.data[i];
        text[i] = c;
        plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    }
    if (!plain) {
        return pg_settings_say(why, "unknown parameter; blanks in a value are quoted as in password='two words', or written "
                                    "%20 in a URL", NULL);
    }
    text[name.len] = '\0';
    return pg_settings_say(why, "unknown parameter ", text, NULL);
}

/* libpq's: the name of an application for which nobody chose one. */
static bool take_fallback(struct pg_settings *settings, struct span value, char *why) {
    const struct parameter *application = &parameters[APPLICATION];
    return is_given(settings, APPLICATION) ||
           application->take(settings, application, "fallback_application_name", value, why);
}

bool pg_settings_set(struct pg_settings *settings, struct span name, struct span value, bool hide, char *why) {
    if (span_equal(name, SPAN("fallback_application_name"))) {
        return take_fallback(settings, value, why);
    }
    for (unsigned i = 0; i < PARAMETERS_COUNT; i++) {
        const struct parameter *parameter = &parameters[i];
        if (span_equal(span_text(parameter->name), name)) {
            settings->given |= parameter->variable != NULL ? 1u << i : 0;
            return parameter->take(settings, parameter, parameter->name, value, why);
        }
    }
    return unknown(name, hide, why);
}

void pg_settings_default(struct pg_settings *out) {
    *out = (struct pg_settings){
        .port = PORT, .connect_timeout_ns = TIMEOUT_SECONDS * second_ns, .may = may_by_default
    };
}

/* -------------------------------------------------------------------------------------------------- environment ---- */

/* Whether a variable has nothing to say because the string, or a variable before it, has said it. */
static bool is_settled(const struct pg_settings *settings, unsigned which, unsigned before) {
    switch (which) {
    case HOSTADDR: return is_given(settings, HOSTADDR) || (before & 1u << HOST) != 0;
    case REQUIRESSL: return is_given(settings, REQUIRESSL) || is_given(settings, SSLMODE);
    case PASSFILE: return is_given(settings, PASSFILE) || settings->has_password;
    default: return is_given(settings, which);
    }
}

bool pg_settings_environment(struct pg_settings *settings, const char *(*get)(const char *name),
                             char why[static PG_SETTINGS_WHY_BYTES]) {
    unsigned before = settings->given;
    for (unsigned i = 0; i < PARAMETERS_COUNT && parameters[i].variable != NULL; i++) {
        const struct parameter *parameter = &parameters[i];
        const char *text = is_settled(settings, i, before) ? NULL : get(parameter->variable);
        if (text == NULL || *text == '\0') {
            continue;
        }
        settings->given |= 1u << i;
        if (!parameter->take(settings, parameter, parameter->variable, span_text(text), why)) {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------------- finish ---- */

bool pg_settings_finish(struct pg_settings *settings, const char *os_user, char why[static PG_SETTINGS_WHY_BYTES]) {
    if (settings->host_address[0] != '\0' && pg_settings_is_folder(settings)) {
        return pg_settings_say(why, "hostaddr: contradicts host, which is the folder of a Unix socket", NULL);
    }
    if (settings->host[0] == '\0') {
        const char *host = settings->host_address[0] != '\0' ? settings->host_address : "/var/run/postgresql";
        memcpy(settings->host, host, strlen(host) + 1);
    }
    if (settings->user[0] == '\0' && (os_user == NULL || *os_user == '\0')) {
        return pg_settings_say(why, "user: nobody says who to connect as, and the process has no user name: name one", NULL);
    }
    if (settings->user[0] == '\0' && !copy_text(settings->user, sizeof settings->user, "user", span_text(os_user), why)) {
        return false;
    }
    if (settings->name[0] == '\0') {
        memcpy(settings->name, settings->user, sizeof settings->name);
    }
    char path[SOCKET_PATH_BYTES];
    if (pg_settings_is_folder(settings) && !pg_settings_socket(settings, path, sizeof path)) {
        return pg_settings_say(why, "host: the path of the socket in it is longer than 107 bytes", NULL);
    }
    if ((settings->may & PG_MAY_NONE) == 0 && !settings->has_password) {
        return pg_settings_say(why, "require_auth: allows only what needs a password, and there is none: give one "
                                    "(PGPASSWORD), or allow none", NULL);
    }
    return true;
}

/* --------------------------------------------------------------------------------------------------------- texts ---- */

/* A text that grows in a buffer and is cut where it is full. */
struct line {
    char *out;
    size_t len, room; /* len <= room; one more is there for the NUL */
};

static void put(struct line *line, const char *text) {
    size_t n = strlen(text);
    n = n < line->room - line->len ? n : line->room - line->len;
    memcpy(line->out + line->len, text, n);
    line->len += n;
    line->out[line->len] = '\0';
}

/* What is not a letter, a digit or of `fine` is percent-encoded. */
static void put_encoded(struct line *line, const char *text, const char *fine) {
    static const char hex[] = "0123456789ABCDEF";
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr(fine, *text) != NULL;
        char piece[4] = { '%', hex[c >> 4], hex[c & 15], '\0' };
        put(line, plain ? (const char[]){ *text, '\0' } : piece);
    }
}

static void put_port(struct line *line, uint16_t port) {
    char digits[] = "00000";
    for (size_t i = 5, n = port; i > 0; i--, n /= 10) {
        digits[i - 1] = (char)('0' + n % 10);
    }
    put(line, digits + strspn(digits, "0"));
}

const char *pg_settings_text(const struct pg_settings *settings, char *out, size_t bytes) {
    static const char fine[] = "-._~";
    rm_assert(bytes > 0);
    struct line line = { out, 0, bytes - 1 };
    bool folder = pg_settings_is_folder(settings), bracket = strchr(settings->host, ':') != NULL;
    put(&line, "postgres://");
    put_encoded(&line, settings->user, fine);
    put(&line, bracket && !folder ? "@[" : "@");
    if (!folder) {
        put_encoded(&line, settings->host, "-._~:");
        put(&line, bracket ? "]:" : ":");
        put_port(&line, settings->port);
    }
    put(&line, "/");
    put_encoded(&line, settings->name, fine);
    if (folder) {
        put(&line, "?host=");
        put_encoded(&line, settings->host, "-._~/@");
        put(&line, "&port=");
        put_port(&line, settings->port);
    }
    return out;
}

bool pg_settings_socket(const struct pg_settings *settings, char *out, size_t bytes) {
    size_t most = strlen(settings->host) + sizeof "/.s.PGSQL.65535";
    char path[PG_SETTING_BYTES + sizeof "/.s.PGSQL.65535"];
    struct line line = { path, 0, sizeof path - 1 };
    rm_assert(most <= sizeof path);
    if (!pg_settings_is_folder(settings)) {
        return false;
    }
    put(&line, settings->host);
    put(&line, "/.s.PGSQL.");
    put_port(&line, settings->port);
    if (line.len >= bytes || line.len >= SOCKET_PATH_BYTES) {
        return false;
    }
    memcpy(out, path, line.len + 1);
    return true;
}
