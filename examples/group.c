/* Several statements in one Sync: one round trip, one transaction. Here an item is copied to two new ids, or to none.
 *
 *     scripts/postgres run -- build/examples/group & curl -X POST http://127.0.0.1:8080/copy/7/200001/200002 */
#include <ringmain.h>
#include <string.h>

static const struct rm_statement statements[] = {
    { .sql = "INSERT INTO items SELECT $2, name, category, price, quantity, active, tags, rating_score, rating_count "
             "FROM items WHERE id = $1",
      .types = RM_TYPES(RM_INT4, RM_INT4),
      .name = "copy" },
};

static enum rm_step answer(struct rm_exchange *x) {
    struct rm_query *first = rm_result(x, 0);
    struct rm_query *second = rm_result(x, 1);
    /* The one that failed says why; the other one's status is RM_DB_ROLLED_BACK then. */
    struct rm_query *culprit = rm_db_status(first) == RM_DB_ROLLED_BACK ? second : first;
    if (strcmp(rm_db_sqlstate(culprit), "23505") == 0) {
        return rm_text(x, 409, "one of the ids is taken: nothing was copied\n");
    }
    if (rm_db_status(culprit) != RM_DB_OK) {
        return rm_db_answer(x, culprit);
    }
    return rm_db_affected(first) == 0 ? rm_text(x, 404, "there is no such item\n") : rm_text(x, 201, "copied twice\n");
}

static bool read_id(const struct rm_exchange *x, const char *name, int64_t *id) {
    return rm_int(rm_param(x, name), id) && *id >= 1 && *id <= INT32_MAX;
}

static enum rm_step copy(struct rm_exchange *x) {
    int64_t id, first, second;
    if (!read_id(x, "id", &id) || !read_id(x, "first", &first) || !read_id(x, "second", &second)) {
        return rm_text(x, 400, "ids must be numbers\n");
    }
    rm_group(x);
    rm_query(x, &statements[0], rm_int_arg(id), rm_int_arg(first));
    rm_query(x, &statements[0], rm_int_arg(id), rm_int_arg(second));
    rm_then(x, answer);
    return RM_PARK;
}

static const struct rm_route routes[] = {
    { .method = "POST", .path = "/copy/{id}/{first}/{second}", .handler = copy },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(
        argc, argv,
        &(struct rm_app){ .name = "group", .routes = routes, .statements = statements, .statement_count = 1 });
}
