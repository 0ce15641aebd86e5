#!/usr/bin/env python3
"""The examples that ask a database, as processes, on every backend: what each one promises in its first lines.

usage: examples_database.py TEMPLATE QUERY QUERY_JSON GROUP TRANSACTION EACH_ROW
"""
import json
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402
import cluster  # noqa: E402
from cluster import Http  # noqa: E402

NAMES = ("query", "query_json", "group", "transaction", "each_row")


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def same(got, wanted, what=""):
    expect(got == wanted, f"{what}: {got}, wanted {wanted}")


def one(db, query):
    return db.rows(query)[0]


def case_query(db, http):
    for row in db.rows("SELECT * FROM items ORDER BY md5(id::text) LIMIT 20"):
        text = f"{row['name']} costs {row['price']}" + ("" if row["active"] else ", but is not for sale") + "\n"
        same(http.get(f"/items/{row['id']}")[::2], (200, text.encode()), row["id"])
    same(http.get("/items/999999")[0], 404)
    same(http.get("/items/x")[0], 400)


def case_query_json(db, http):
    for category in ("toys", "books", "nothing"):
        rows = db.rows(f"SELECT * FROM items WHERE category = '{category}' ORDER BY price DESC, id LIMIT 3")
        dearest = [{"id": r["id"], "name": r["name"], "price": r["price"], "tags": r["tags"],
                    "rating": {"score": r["rating_score"], "count": r["rating_count"]}} for r in rows]
        summary = one(db, f"SELECT count(*) AS items, min(price) AS cheapest FROM items WHERE category = '{category}'")
        same(http.json("GET", f"/categories/{category}", 200), {"summary": summary, "dearest": dearest}, category)


def case_group(db, http):
    db.psql("DELETE FROM items WHERE id > 100000")

    def copies():
        return [row["id"] for row in db.rows("SELECT id FROM items WHERE id > 100000 ORDER BY id")]

    same(http.ask("POST", "/copy/7/200001/200002")[0], 201)
    same(copies(), [200001, 200002])
    same(http.ask("POST", "/copy/7/200003/200001")[0], 409, "the second one is taken")
    same(http.ask("POST", "/copy/7/200002/200004")[0], 409, "the first one is taken")
    same(copies(), [200001, 200002], "none of it has happened")
    same(http.ask("POST", "/copy/999999/200005/200006")[0], 404)
    same(http.ask("POST", "/copy/x/200005/200006")[0], 400)
    db.psql("DELETE FROM items WHERE id > 100000")


def case_transaction(db, http):
    db.psql("UPDATE items SET quantity = 10 WHERE id = 7")
    same(http.ask("POST", "/take/7/3")[::2], (200, b"7 are left\n"))
    same(http.ask("POST", "/take/7/8")[0], 409)
    same(http.ask("POST", "/take/999999/1")[0], 409)
    same(http.ask("POST", "/take/7/0")[0], 400)
    same(one(db, "SELECT quantity FROM items WHERE id = 7"), {"quantity": 7})
    port, statuses = http.connection.port, []

    def take():
        with Http(port) as other:
            statuses.append(other.ask("POST", "/take/7/1")[0])

    threads = [threading.Thread(target=take) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(sorted(statuses), [200] * 7 + [409] * 5, "seven of twelve at once")
    same(one(db, "SELECT quantity FROM items WHERE id = 7"), {"quantity": 0})


def case_each_row(db, http):
    for category in ("toys", "electronics", "nothing"):
        wanted = one(db, "SELECT count(*) AS items, coalesce(sum(price::bigint * quantity), 0)::bigint AS worth FROM items "
                         f"WHERE category = '{category}'")
        same(http.json("GET", f"/worth/{category}", 200), wanted, category)
    before = one(db, "SELECT count(*)::int AS n FROM items WHERE category = 'many'")
    same(before, {"n": 0})
    db.psql("INSERT INTO items SELECT 300000 + n, 'n', 'many', 2, 3 FROM generate_series(1, 50000) n")
    same(http.json("GET", "/worth/many", 200), {"items": 50000, "worth": 300000}, "more than --db-result-bytes")
    db.psql("DELETE FROM items WHERE id > 300000")


def run(function, db, program, flags):
    with arena.Arena(program, "--workers", "2", *cluster.flags_of(db), *flags) as server, Http(server.port) as http:
        cluster.until(lambda: cluster.ready(server.port), "ready")
        function(db, http)


def main(argv):
    if len(argv) != 2 + len(NAMES):
        sys.exit(__doc__)
    code = cluster.skip_without()
    if code is not None:
        return code
    with cluster.Cluster(argv[1]) as db:
        return arena.run_cases([(f"{name} {backend}", lambda name=name, program=program, backend=backend:
                                 run(globals()[f"case_{name}"], db, program, ["--io", backend]))
                                for name, program in zip(NAMES, argv[2:]) for backend in arena.backends(program)])


if __name__ == "__main__":
    sys.exit(main(sys.argv))
