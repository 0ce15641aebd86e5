/* One query: its rows are kept and read field by field.
 *
 *     scripts/postgres run -- build/examples/query & curl http://127.0.0.1:8080/items/7 */
#include <ringmain.h>

static const struct rm_statement statements[] = {
    { .sql = "SELECT name, price, active FROM items WHERE id = $1",
      .types = RM_TYPES(RM_INT4),
      .flags = RM_READ_ONLY,
      .name = "item" },
};

static enum rm_step answer(struct rm_exchange *x) {
    const struct rm_row *row;
    struct span name = { "", 0 };
    int64_t price = 0;
    bool active = false;
    struct rm_query *query = rm_result(x, 0);
    if (rm_db_status(query) != RM_DB_OK) {
        return rm_db_answer(x, query);
    }
    if (!rm_next_row(query, &row)) {
        return rm_text(x, 404, "there is no such item\n");
    }
    rm_get_text(row, 0, &name);
    rm_get_int(row, 1, &price);
    rm_get_bool(row, 2, &active);
    rm_begin(x, 200, "text/plain");
    rm_write(x, name);
    rm_write(x, (struct span){ " costs ", 7 });
    rm_write_int(x, price);
    rm_write(x, active ? (struct span){ "\n", 1 } : (struct span){ ", but is not for sale\n", 22 });
    return RM_DONE;
}

static enum rm_step ask(struct rm_exchange *x) {
    int64_t id;
    if (!rm_int(rm_param(x, "id"), &id) || id < 1 || id > INT32_MAX) {
        return rm_text(x, 400, "id must be a number\n");
    }
    rm_query(x, &statements[0], rm_int_arg(id));
    rm_then(x, answer);
    return RM_PARK;
}

static const struct rm_route routes[] = {
    { .method = "GET", .path = "/items/{id}", .handler = ask },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(
        argc, argv,
        &(struct rm_app){ .name = "query", .routes = routes, .statements = statements, .statement_count = 1 });
}
