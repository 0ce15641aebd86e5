#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/pg_statement.h"
#include "server/db.h"
#include "server/server.h"

_Static_assert(sizeof(enum rm_type) == sizeof(uint32_t), "a list of types is a list of OIDs");
_Static_assert(RM_TYPES_END == 0, "");

enum { LABEL_BYTES = 8 }; /* "#255" */

static int refuse(char *why, uint32_t i, const char *what) {
    snprintf(why, CONFIG_WHY_BYTES, "statement %u %s", i, what);
    return EXIT_CONFIG;
}

static uint32_t count_types(const enum rm_type *types) {
    uint32_t n = 0;
    while (types != NULL && types[n] != RM_TYPES_END) {
        n++;
    }
    return n;
}

static const char *problem_of(const struct rm_statement *from) {
    if (from->sql == NULL || *from->sql == '\0') {
        return "has no SQL";
    }
    if ((from->flags & RM_SHARED_SYNC) != 0 && (from->flags & RM_READ_ONLY) == 0) {
        return "has RM_SHARED_SYNC without RM_READ_ONLY: it could run twice";
    }
    if (count_types(from->types) > PG_PARAMETERS_MAX) {
        return "has more than 65535 parameters";
    }
    return NULL;
}

static void make_statement(struct pg_statement *to, const struct rm_statement *from, const char *label) {
    *to = (struct pg_statement){
        .label = span_text(from->name != NULL ? from->name : label),
        .sql = span_text(from->sql),
        .types = (const uint32_t *)(const void *)from->types,
        .type_count = count_types(from->types),
        .read_only = (from->flags & RM_READ_ONLY) != 0,
        .shared_sync = (from->flags & RM_SHARED_SYNC) != 0,
        .nested = (from->flags & RM_NESTED) != 0,
    };
    pg_statement_make(to);
}

int db_statements_make(struct server *server, char *why) {
    const struct rm_app *app = server->app;
    uint32_t n = app->statement_count;
    if (n > PG_STATEMENTS_MAX - PG_INTERNAL_COUNT) {
        snprintf(why, CONFIG_WHY_BYTES, "an application has at most %d statements", PG_STATEMENTS_MAX - PG_INTERNAL_COUNT);
        return EXIT_CONFIG;
    }
    /* The labels of those that have no name lie behind the table. */
    server->statements = calloc(1, (n + PG_INTERNAL_COUNT) * sizeof *server->statements + n * LABEL_BYTES);
    if (server->statements == NULL) {
        snprintf(why, CONFIG_WHY_BYTES, "no memory for the statements");
        return EXIT_CONFIG;
    }
    char *labels = (char *)(server->statements + n + PG_INTERNAL_COUNT);
    for (uint32_t i = 0; i < n; i++) {
        const char *problem = problem_of(&app->statements[i]);
        if (problem != NULL) {
            return refuse(why, i, problem);
        }
        snprintf(labels + i * LABEL_BYTES, LABEL_BYTES, "#%u", i % 1000);
        make_statement(&server->statements[i], &app->statements[i], labels + i * LABEL_BYTES);
    }
    pg_statements_internal(server->statements + n);
    server->statement_count = n + PG_INTERNAL_COUNT;
    return EXIT_FINE;
}

void db_statements_free(struct server *server) {
    free(server->statements);
    server->statements = NULL;
}
