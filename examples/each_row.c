/* A large result that is never kept: a function sees each row while it arrives, in memory that does not depend on their number.
 *
 *     scripts/postgres run -- build/examples/each_row & curl http://127.0.0.1:8080/worth/toys */
#include <ringmain.h>

static const struct rm_statement statements[] = {
    { .sql = "SELECT price, quantity FROM items WHERE category = $1", .types = RM_TYPES(RM_TEXT), .name = "stock" },
};

struct stock {
    int64_t items, worth;
};

/* What it has added up counts only if the query ends well. */
static bool add(const struct rm_row *row, void *arg) {
    struct stock *stock = arg;
    int64_t price, quantity;
    if (rm_get_int(row, 0, &price) && rm_get_int(row, 1, &quantity)) {
        stock->items++;
        stock->worth += price * quantity;
    }
    return true;
}

static enum rm_step answer(struct rm_exchange *x) {
    const struct stock *stock = rm_state(x);
    if (rm_db_status(rm_result(x, 0)) != RM_DB_OK) {
        return rm_db_answer(x, rm_result(x, 0));
    }
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_int(x, "items", stock->items);
    rm_json_int(x, "worth", stock->worth);
    rm_json_close(x);
    return RM_DONE;
}

static enum rm_step ask(struct rm_exchange *x) {
    struct rm_arg category = rm_text_arg(rm_param(x, "category"));
    struct stock *stock = rm_alloc(x, sizeof *stock);
    rm_set_state(x, stock);
    rm_query_each(x, add, stock, &statements[0], &category, 1);
    rm_then(x, answer);
    return RM_PARK;
}

static const struct rm_route routes[] = {
    { .method = "GET", .path = "/worth/{category}", .handler = ask },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(
        argc, argv,
        &(struct rm_app){ .name = "each_row", .routes = routes, .statements = statements, .statement_count = 1 });
}
