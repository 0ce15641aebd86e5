/* Two queries at once, whose rows are written as JSON while they arrive. They run beside each other, on one connection or on
 * two; the handler goes on when both are done.
 *
 *     scripts/postgres run -- build/examples/query_json & curl http://127.0.0.1:8080/categories/toys */
#include <ringmain.h>

enum { DEAREST, SUMMARY, STATEMENTS };

/* RM_NESTED: the columns "rating.score" and "rating.count" become an object "rating" with two members. */
static const struct rm_statement statements[STATEMENTS] = {
    [DEAREST] = { .sql =
                      "SELECT id, name, price, tags, rating_score AS \"rating.score\", rating_count AS \"rating.count\" "
                      "FROM items WHERE category = $1 ORDER BY price DESC, id LIMIT 3",
                  .types = RM_TYPES(RM_TEXT),
                  .flags = RM_READ_ONLY | RM_NESTED,
                  .name = "dearest" },
    [SUMMARY] = { .sql = "SELECT count(*) AS items, min(price) AS cheapest FROM items WHERE category = $1",
                  .types = RM_TYPES(RM_TEXT),
                  .flags = RM_READ_ONLY,
                  .name = "summary" },
};

static enum rm_step answer(struct rm_exchange *x) {
    struct rm_query *dearest = rm_result(x, 0); /* in the order in which they were started */
    struct rm_query *summary = rm_result(x, 1);
    if (rm_db_status(dearest) != RM_DB_OK || rm_db_status(summary) != RM_DB_OK) {
        return rm_db_answer(x, rm_db_status(dearest) != RM_DB_OK ? dearest : summary);
    }
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_row(x, "summary", summary);
    rm_json_rows(x, "dearest", dearest);
    rm_json_close(x);
    return RM_DONE;
}

static enum rm_step ask(struct rm_exchange *x) {
    struct rm_arg category = rm_text_arg(rm_param(x, "name"));
    rm_query_json(x, &statements[DEAREST], category);
    rm_query_json(x, &statements[SUMMARY], category);
    rm_then(x, answer);
    return RM_PARK;
}

static const struct rm_route routes[] = {
    { .method = "GET", .path = "/categories/{name}", .handler = ask },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(
        argc, argv,
        &(struct rm_app){
            .name = "query_json", .routes = routes, .statements = statements, .statement_count = STATEMENTS });
}
