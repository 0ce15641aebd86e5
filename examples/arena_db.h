/* The routes of arena that ask the database, table `items` (scripts/make-dataset --sql):
 *
 *     GET  /async-db?min=10&max=50&limit=50                      items with a price from min to max, at most limit (1..50)
 *     GET  /crud/items?category=electronics&page=1&limit=10      a page of a category, in the order of ids
 *     GET  /crud/items/{id}                                      an item, or 404; kept for a moment
 *     POST /crud/items                                           201: the item, which replaces one of the same id
 *     PUT  /crud/items/{id}                                      the item with another name, price, quantity; or 404
 *     GET  /db/two?id=1                                          an item and the three after it: two queries at once
 *     POST /db/transfer                                          moves quantity from one item to another, or 409 or 404
 *
 * Who has the answer to a change of an item never sees it as it was, whichever worker is asked.
 *
 * What is wrong with a request is answered with 400 and a line that names the field or parameter. */
#ifndef ARENA_DB_H
#define ARENA_DB_H

#include <ringmain.h>

enum db_statement {
    DB_PRICES,
    DB_CATEGORY,
    DB_ITEM,
    DB_ITEM_SHARED, /* the same, sharing its Sync: --shared-sync on */
    DB_AFTER,
    DB_UPSERT,
    DB_UPDATE,
    DB_TAKE,
    DB_GIVE,
    DB_STATEMENTS,
};
extern const struct rm_statement db_statements[DB_STATEMENTS];

/* Whether /crud/items/{id} and /db/two may share a Sync with other requests; before the first request. */
void db_share_sync(bool share);

/* How items are kept; its ttl_ns, and db_item_gap_ns, are set before the server starts. */
extern struct rm_cache db_item_cache;

/* So long an item that was read waits before it is answered, and so before it is kept: for tests, which change it meanwhile. */
extern uint64_t db_item_gap_ns;

/* A worker's memory for bodies: rm_app.worker_start and worker_stop. */
int db_worker_start(struct rm_worker *worker);
void db_worker_stop(struct rm_worker *worker);

enum rm_step db_prices(struct rm_exchange *x);
enum rm_step db_category(struct rm_exchange *x);
enum rm_step db_item(struct rm_exchange *x);
enum rm_step db_upsert(struct rm_exchange *x);
enum rm_step db_update(struct rm_exchange *x);
enum rm_step db_two(struct rm_exchange *x);
enum rm_step db_transfer(struct rm_exchange *x);

#endif
