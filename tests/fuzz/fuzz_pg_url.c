/* Any bytes as a connection string: what is taken keeps the bounds of pg_settings, can be finished and shown, and what is
 * shown can be read back to the same place; what is refused says why. A password is never in either. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/pg_settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void demand(bool fine, const char *what) {
    if (!fine) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static bool ends(const char *text, size_t bytes) {
    return memchr(text, '\0', bytes) != NULL;
}

static void check_bounds(const struct pg_settings *s) {
    demand(ends(s->host, sizeof s->host) && ends(s->host_address, sizeof s->host_address) && ends(s->user, sizeof s->user) &&
               ends(s->password, sizeof s->password) && ends(s->name, sizeof s->name) &&
               ends(s->application_name, sizeof s->application_name) && ends(s->options, sizeof s->options),
           "a text does not end");
    demand(s->port > 0, "port");
    demand(s->has_password == (s->password[0] != '\0'), "has_password");
    demand(s->has_application_name == (s->application_name[0] != '\0'), "has_application_name");
    demand(s->connect_timeout_ns > 0 && s->connect_timeout_ns <= UINT64_C(3600) * 1000000000, "connect_timeout");
    demand(s->may > 0 && s->may < 16, "may");
    demand(!s->wants_tls, "TLS that was not refused");
}

/* What logs show leads to the same place. */
static void check_text(const struct pg_settings *s) {
    char text[4096], why[PG_SETTINGS_WHY_BYTES];
    struct pg_settings again;
    pg_settings_text(s, text, sizeof text);
    pg_settings_default(&again);
    if (!pg_settings_read(&again, span_text(text), why)) {
        fprintf(stderr, "%s: %s\n", text, why);
        abort();
    }
    demand(strcmp(again.host, s->host) == 0 && again.port == s->port && strcmp(again.user, s->user) == 0 &&
               strcmp(again.name, s->name) == 0 && !again.has_password,
           text);
}

static void check_socket(const struct pg_settings *s) {
    char path[108];
    if (pg_settings_socket(s, path, sizeof path)) {
        demand(pg_settings_is_folder(s) && ends(path, sizeof path), "the path of a socket");
    }
}

/* The same text with a password in front of it that nothing may repeat. No other 'W' is there, escaped or not. */
static void check_secret(const uint8_t *data, size_t len) {
    static const char word[] = "SECRETWORD";
    if (memchr(data, 'W', len) != NULL || memmem(data, len, "%57", 3) != NULL) {
        return;
    }
    static const char *const fronts[] = { "postgres://u:SECRETWORD", "password='SECRETWORD' ", "password=SECRETWORD" };
    for (size_t i = 0; i < sizeof fronts / sizeof *fronts; i++) {
        char text[4096], shown[4096], why[PG_SETTINGS_WHY_BYTES];
        size_t front = strlen(fronts[i]);
        struct pg_settings settings;
        len = len < sizeof text - front ? len : sizeof text - front;
        memcpy(text, fronts[i], front);
        memcpy(text + front, data, len);
        pg_settings_default(&settings);
        if (!pg_settings_read(&settings, span_of(text, front + len), why) || !pg_settings_finish(&settings, "me", why)) {
            demand(strstr(why, word) == NULL, why);
        } else if (strstr(settings.password, word) != NULL) {
            pg_settings_text(&settings, shown, sizeof shown);
            demand(strstr(shown, word) == NULL, shown);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct pg_settings settings;
    char why[PG_SETTINGS_WHY_BYTES];
    pg_settings_default(&settings);
    memset(why, 0, sizeof why);
    if (!pg_settings_read(&settings, span_of((const char *)data, len), why)) {
        demand(ends(why, sizeof why) && strlen(why) > 0, "no reason");
    } else {
        check_bounds(&settings);
        if (pg_settings_finish(&settings, "me", why)) {
            demand(settings.host[0] != '\0' && settings.user[0] != '\0' && settings.name[0] != '\0', "not finished");
            check_text(&settings);
            check_socket(&settings);
        }
    }
    if (len > 0) {
        check_secret(data, len);
    }
    return 0;
}
