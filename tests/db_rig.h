/* A worker on the simulator with a simulated Postgres server in the same world: pg_server.h behind a listening socket. */
#ifndef TESTS_DB_RIG_H
#define TESTS_DB_RIG_H

#include "pg_server.h"
#include "server_rig.h"

#define DB_RIG_URL "--db postgres://me@127.0.0.1:5432/things"

struct db_rig_conn {
    struct ring_id id;
    struct pg_backend *backend; /* NULL: the slot is free, or its socket is being closed */
    struct iovec segment;       /* of the send in flight: a copy */
    bool sending, closing;
};

struct db_rig {
    struct rig rig; /* first */
    struct pg_server server;
    struct ring *ring, *clock;
    struct ring_id listener;
    bool listening;
    uint64_t pushed; /* bytes that were given to sockets */
    struct db_rig_conn conns[PG_BACKENDS_MAX];
};

/* As rig_open_world, and a database that answers `statements`; BEGIN, COMMIT and ROLLBACK are to be among them, see
 * DB_RIG_OWN. `line` says where it is: DB_RIG_URL. `up`: it listens. */
void db_rig_open(struct db_rig *db, const struct rm_app *app, const char *line, struct pg_server_statement *statements,
                 uint32_t count, bool up);
void db_rig_open_world(struct db_rig *db, const struct rm_app *app, const char *line, struct pg_server_statement *statements,
                       uint32_t count, uint64_t seed, const struct sim_options *options);
void db_rig_close(struct db_rig *db);

/* The same for who has a world and a worker of their own: of db->rig only `world` is used. db_rig_turn does what the server
 * has to do now. */
void db_rig_attach(struct db_rig *db, struct sim_world *world, struct pg_server_statement *statements, uint32_t count,
                   uint64_t seed);
void db_rig_turn(struct db_rig *db);
void db_rig_detach(struct db_rig *db);

/* It begins to listen; it stops, and every connection is reset. */
void db_rig_start(struct db_rig *db);
void db_rig_stop(struct db_rig *db);

/* The statements of src/pg. */
#define DB_RIG_OWN                                                                     \
    { .sql = "BEGIN ISOLATION LEVEL READ COMMITTED", .what = PG_DO_BEGIN },            \
        { .sql = "BEGIN ISOLATION LEVEL REPEATABLE READ", .what = PG_DO_BEGIN },       \
        { .sql = "BEGIN ISOLATION LEVEL SERIALIZABLE", .what = PG_DO_BEGIN },          \
        { .sql = "BEGIN READ ONLY", .what = PG_DO_BEGIN },                             \
        { .sql = "COMMIT", .what = PG_DO_COMMIT }, { .sql = "ROLLBACK", .what = PG_DO_ROLLBACK }

/* Connections that have started. */
uint32_t db_rig_sessions(const struct db_rig *db);

#endif
