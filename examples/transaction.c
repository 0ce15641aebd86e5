/* A transaction: what the second statement does depends on what the first one found, and nobody comes between. It has a
 * connection of its own from the first query to the commit.
 *
 *     scripts/postgres run -- build/examples/transaction & curl -X POST http://127.0.0.1:8080/take/7/3 */
#include <ringmain.h>

enum { LOOK, TAKE, STATEMENTS };

static const struct rm_statement statements[STATEMENTS] = {
    [LOOK] = { .sql = "SELECT quantity FROM items WHERE id = $1 FOR UPDATE",
               .types = RM_TYPES(RM_INT4),
               .name = "look" },
    [TAKE] = { .sql = "UPDATE items SET quantity = quantity - $2 WHERE id = $1",
               .types = RM_TYPES(RM_INT4, RM_INT4),
               .name = "take" },
};

struct order {
    int64_t id, wanted, there;
};

static enum rm_step too_few(struct rm_exchange *x) {
    return rm_text(x, 409, "there are not so many\n");
}

static enum rm_step committed(struct rm_exchange *x) {
    const struct order *order = rm_state(x);
    struct rm_query *take = rm_result(x, 0), *commit = rm_result(x, 1);
    if (rm_db_status(commit) != RM_DB_OK) { /* until COMMIT has said OK, nothing is certain */
        return rm_db_answer(x, rm_db_status(commit) == RM_DB_ROLLED_BACK ? take : commit);
    }
    rm_begin(x, 200, "text/plain");
    rm_write_int(x, order->there - order->wanted);
    rm_write(x, (struct span){ " are left\n", 10 });
    return RM_DONE;
}

static enum rm_step looked(struct rm_exchange *x) {
    const struct rm_row *row;
    struct order *order = rm_state(x);
    struct rm_query *query = rm_result(x, 0);
    if (rm_db_status(query) != RM_DB_OK) {
        return rm_db_answer(x, query); /* a handler that leaves a transaction open gets a rollback */
    }
    if (!rm_next_row(query, &row) || !rm_get_int(row, 0, &order->there) || order->there < order->wanted) {
        rm_rollback(x);
        rm_then(x, too_few);
        return RM_PARK;
    }
    rm_query(x, &statements[TAKE], rm_int_arg(order->id), rm_int_arg(order->wanted));
    rm_commit(x);
    rm_then(x, committed);
    return RM_PARK;
}

static enum rm_step take(struct rm_exchange *x) {
    struct order *order = rm_alloc(x, sizeof *order);
    if (order == NULL || !rm_int(rm_param(x, "id"), &order->id) || !rm_int(rm_param(x, "n"), &order->wanted) ||
        order->id < 1 || order->id > INT32_MAX || order->wanted < 1 || order->wanted > INT32_MAX) {
        return rm_text(x, 400, "id and n must be numbers\n");
    }
    rm_set_state(x, order);
    rm_transaction(x, RM_READ_COMMITTED);
    rm_query(x, &statements[LOOK], rm_int_arg(order->id));
    rm_then(x, looked);
    return RM_PARK;
}

static const struct rm_route routes[] = {
    { .method = "POST", .path = "/take/{id}/{n}", .handler = take },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(
        argc, argv,
        &(struct rm_app){
            .name = "transaction", .routes = routes, .statements = statements, .statement_count = STATEMENTS });
}
