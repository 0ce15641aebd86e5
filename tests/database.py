#!/usr/bin/env python3
"""arena's database routes with a real PostgreSQL, on every backend: each answer is compared with what a model in Python makes
of the table, which psql reads.

usage: database.py ARENA TEMPLATE [CASE]      TEMPLATE: the folder of a cluster that this one begins as a copy of
"""
import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402
import cluster  # noqa: E402
import exposition  # noqa: E402
from cluster import Http  # noqa: E402

COLUMNS = ["id", "name", "category", "price", "quantity", "active", "tags", "rating"]
DB = None  # the cluster of all cases; those that break it have their own


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def same(got, wanted, what):
    expect(got == wanted, f"{what}: {str(got)[:300]}, wanted {str(wanted)[:300]}")


def model():
    """{id: item} as the routes show them."""
    found = {}
    for row in DB.rows("SELECT * FROM items"):
        row["rating"] = {"score": row.pop("rating_score"), "count": row.pop("rating_count")}
        found[row["id"]] = {name: row[name] for name in COLUMNS}
    return found


def same_item(got, wanted, what):
    same(got, wanted, what)
    same(list(got), COLUMNS, f"{what}: order of members")
    same(list(got["rating"]), ["score", "count"], f"{what}: order of the rating")


def serve(program, flags, *more, env=None):
    return arena.Arena(program, "--workers", "2", *cluster.flags_of(DB, *more), *flags, env=env)


def refused(http, method, target, status, word, body=None):
    got, _, text = http.ask(method, target, body)
    expect(got == status and word in text.decode(), f"{method} {target} {body}: {got} {text!r}, wanted {status} with '{word}'")


# ------------------------------------------------------------------------------------------------------ reading ----

def read_items(http):
    items = model()
    for identity in random.Random(5).sample(sorted(items), 60) + [1, max(items)]:
        same_item(http.json("GET", f"/crud/items/{identity}", 200), items[identity], identity)
    for nobody in (0, -1, max(items) + 1, 2147483647, 2147483648, -9223372036854775808):
        same(http.get(f"/crud/items/{nobody}")[0], 404, nobody)
    for nonsense in ("x", "1x", "1.0", "99999999999999999999", "%31"):
        refused(http, "GET", f"/crud/items/{nonsense}", 400, "id")


def case_item(program, flags):
    with serve(program, flags) as server, Http(server.port) as http:
        read_items(http)


def case_item_with_shared_sync(program, flags):
    with serve(program, flags, "--shared-sync", "on") as server, Http(server.port) as http:
        read_items(http)


def case_item_without_prepared_statements(program, flags):
    with serve(program, flags, "--db-prepare", "off") as server, Http(server.port) as http:
        read_items(http)
        items = model()
        same_item(http.json("PUT", "/crud/items/9", 200, {"name": "n", "price": 1, "quantity": 2}),
                  items[9] | {"name": "n", "price": 1, "quantity": 2}, "PUT")


def case_item_over_tcp(program, flags):
    with arena.Arena(program, "--workers", "1", "--db", DB.place["tcp"], *flags) as server, Http(server.port) as http:
        read_items(http)


def case_prices(program, flags):
    items = model()
    with serve(program, flags) as server, Http(server.port) as http:
        for target, low, high, limit in (
                ("?min=10&max=50&limit=50", 10, 50, 50), ("", 10, 50, 50), ("?min=1&max=500&limit=7", 1, 500, 7),
                ("?min=1&max=500&limit=0", 1, 500, 1), ("?min=1&max=500&limit=1000", 1, 500, 50), ("?min=490&max=9", 490, 9, 50),
                ("?min=-99999999999&max=99999999999&limit=-5", 0, 1000, 1), ("?min=501&max=600", 501, 600, 50)):
            got = http.json("GET", "/async-db" + target, 200)
            same(list(got), ["items", "count"], target)
            matching = sum(low <= item["price"] <= high for item in items.values())
            same((got["count"], len(got["items"])), (min(limit, matching),) * 2, target)
            same(len({item["id"] for item in got["items"]}), got["count"], f"{target}: ids twice")
            for item in got["items"]:
                expect(low <= item["price"] <= high, item)
                same_item(item, items[item["id"]], target)
        for name in ("min", "max", "limit"):
            refused(http, "GET", f"/async-db?{name}=ten", 400, name)


def case_category(program, flags):
    items = model()
    with serve(program, flags) as server, Http(server.port) as http:
        for category in ("electronics", "toys", "nothing", "", "it''s", "caf%C3%A9", "a%20b+c"):
            here = [items[i] for i in sorted(items) if items[i]["category"] == category]
            for page, limit in ((1, 10), (2, 10), (3, 50), (1, 500), (1000, 50), (0, 3), (99999999999, 1)):
                got = http.json("GET", f"/crud/items?category={category}&page={page}&limit={limit}", 200)
                page, limit = min(max(page, 1), 2147483647), min(limit, 50)
                wanted = here[(page - 1) * limit:page * limit]
                same(got, {"items": wanted, "total": len(wanted), "page": page, "limit": limit}, (category, page, limit))
                same(list(got), ["items", "total", "page", "limit"], "members")
        same(http.json("GET", "/crud/items?category=toys", 200)["limit"], 10, "the default")
        refused(http, "GET", "/crud/items", 400, "category")
        for bad in ("%", "%2", "%zz", "a%00b", "x" * 257):
            refused(http, "GET", f"/crud/items?category={bad}", 400, "category")
        same(http.get("/crud/items?category=%ff")[0], 400, "text that is not UTF-8")
        refused(http, "GET", "/crud/items?category=toys&page=one", 400, "page")
        refused(http, "GET", "/crud/items?category=toys&limit=", 400, "limit")


def case_two(program, flags):
    items = model()
    with serve(program, flags) as server, Http(server.port) as http:
        for identity in (1, 77, max(items) - 1, max(items), max(items) + 1, -5):
            after = [{"id": i, "name": items[i]["name"]} for i in sorted(items) if i > identity][:3]
            same(http.json("GET", f"/db/two?id={identity}", 200), {"item": items.get(identity), "after": after}, identity)
        refused(http, "GET", "/db/two?id=x", 400, "id")


def case_pipelined_on_one_connection(program, flags):
    """Many requests in one write: the answers are in their order, whoever of the database was first."""
    draws = random.Random(3)
    ids = [draws.randrange(1, cluster.ROWS) for _ in range(400)]
    with serve(program, flags, "--shared-sync", draws.choice(("on", "off"))) as server, server.connect() as sock:
        data = b"".join(f"GET /{'pipeline' if i % 7 == 0 else f'crud/items/{identity}'} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
                        for i, identity in enumerate(ids))
        sender = threading.Thread(target=sock.sendall, args=(data,))
        sender.start()
        file = sock.makefile("rb")
        for i, identity in enumerate(ids):
            expect(file.readline().startswith(b"HTTP/1.1 200 "), i)
            length = 0
            for line in iter(file.readline, b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = file.read(length)
            same(body if i % 7 == 0 else json.loads(body)["id"], b"ok" if i % 7 == 0 else identity, i)
        sender.join()


# ------------------------------------------------------------------------------------------------------ writing ----

GOOD = {"id": 900001, "name": "a \"quoted\" näme \n", "category": "new", "price": 12, "quantity": 3}


def case_upsert(program, flags):
    with serve(program, flags) as server, Http(server.port) as http:
        wanted = GOOD | {"active": True, "tags": [], "rating": {"score": 0, "count": 0}}
        same_item(http.json("POST", "/crud/items", 201, GOOD), wanted, "defaults")
        same(model()[900001], wanted, "what is stored")
        full = GOOD | {"name": "b", "active": False, "tags": ["x", "ü\\\"", "\t"], "rating": {"score": 4.25, "count": 9}, "more": 1}
        wanted = {name: full[name] for name in COLUMNS}
        same_item(http.json("POST", "/crud/items", 201, full), wanted, "replaced")
        same(model()[900001], wanted, "what is stored after that")
        http.json("POST", "/crud/items", 201, GOOD)
        same_item(http.json("GET", "/crud/items/900001", 200)["tags"] or wanted, wanted, "optional ones are reset")
        same(http.json("POST", "/crud/items", 201, GOOD | {"rating": {"score": 1e3}})["rating"], {"score": 1000, "count": 0}, "rating")


WRONG = [("id", 0), ("id", "1"), ("id", 1.0), ("id", 2147483648), ("id", None), ("name", 5), ("name", "a\0b"), ("name", None),
         ("category", []), ("price", "12"), ("price", -1), ("price", 1.5), ("price", 99999999999999999999), ("quantity", True),
         ("quantity", {}), ("active", "true"), ("active", 1), ("tags", "x"), ("tags", [1]), ("tags", ["\0"]), ("rating", []),
         ("rating", {"score": "4"}), ("rating", {"count": 1.5}), ("rating", {"count": -1})]


def case_bad_bodies(program, flags):
    before = model()
    with serve(program, flags) as server, Http(server.port) as http:
        for name in ("id", "name", "category", "price", "quantity"):
            refused(http, "POST", "/crud/items", 400, f"{name} is missing", {k: v for k, v in GOOD.items() if k != name})
        for name in ("name", "price", "quantity"):
            refused(http, "PUT", "/crud/items/5", 400, f"{name} is missing", {k: v for k, v in GOOD.items() if k != name})
        for name in ("from", "to", "quantity"):
            body = {"from": 1, "to": 2, "quantity": 3}
            refused(http, "POST", "/db/transfer", 400, f"{name} is missing", {k: v for k, v in body.items() if k != name})
            refused(http, "POST", "/db/transfer", 400, name, body | {name: "1"})
        for name, value in WRONG:
            inner = f"rating.{next(iter(value))}" if name == "rating" and value else name
            refused(http, "POST", "/crud/items", 400, inner, GOOD | {name: value})
        refused(http, "PUT", "/crud/items/5", 400, "category", GOOD | {"category": 1})
        for bad in (b"", b"{", b"[]", b"7", b"{\"id\":1,}", b"\xff", b"{} {}", b"{\"name\":\"\xff\"}", b"[" * 5000):
            refused(http, "POST", "/crud/items", 400, "body", bad)
        refused(http, "POST", "/crud/items", 400, "at most 16384", b" " * 16385)
        big = dict(GOOD, id=900002, name="n" * 8000, tags=["\u0001" * 200] * 5)
        same(http.json("POST", "/crud/items", 201, big)["name"], big["name"], "a large one that is fine")
    after = model()
    before.pop(900002, None)
    after.pop(900002)
    same(after, before, "the table")


def case_update(program, flags):
    items = model()
    with serve(program, flags) as server, Http(server.port) as http:
        body = {"name": "other", "price": 2147483647, "quantity": 0}
        same_item(http.json("PUT", "/crud/items/11", 200, body), items[11] | body, "without a category")
        body["category"] = "moved"
        same_item(http.json("PUT", "/crud/items/11", 200, body), items[11] | body, "with one")
        items[11] |= body
        refused(http, "PUT", "/crud/items/800000", 404, "no such item", body)
        refused(http, "PUT", "/crud/items/3000000000", 404, "no such item", body)
        refused(http, "PUT", "/crud/items/x", 400, "id", body)
    same(model(), items, "the table")


def case_transfer(program, flags):
    DB.psql("UPDATE items SET quantity = 50 WHERE id IN (21, 22)", "UPDATE items SET quantity = 2147483647 WHERE id = 23")
    before = model()

    def move(http, source, target, quantity):
        return http.ask("POST", "/db/transfer", {"from": source, "to": target, "quantity": quantity})[::2]

    with serve(program, flags) as server, Http(server.port) as http:
        same(json.loads(move(http, 21, 22, 20)[1]), {"from": 21, "left": 30, "to": 22, "held": 70}, "moved")
        for source, target, quantity, status in ((21, 22, 31, 409), (21, 700000, 1, 404), (700000, 21, 1, 404), (21, 23, 1, 409)):
            same(move(http, source, target, quantity)[0], status, (source, target, quantity))
        same(move(http, 22, 21, 20)[0], 200, "back")
        same(move(http, 21, 21, 50)[0], 200, "to itself")
        same(DB.rows("SELECT count(*) AS n FROM pg_stat_activity WHERE state LIKE 'idle in%'"), [{"n": 0}], "left open")
    same(model(), before, "the table")


def case_transfers_at_once(program, flags):
    """Crossing ones may be deadlock victims (503): nothing is lost or made up."""
    DB.psql("UPDATE items SET quantity = 1000 WHERE id BETWEEN 31 AND 34")
    statuses = []

    def work(port, seed):
        draws = random.Random(seed)
        with Http(port) as http:
            for _ in range(40):
                source, target = draws.sample(range(31, 35), 2)
                statuses.append(http.ask("POST", "/db/transfer", {"from": source, "to": target, "quantity": draws.randrange(1, 9)})[0])

    with serve(program, flags, "--db-connections", "8", "--db-timeout", "60s") as server:
        threads = [threading.Thread(target=work, args=(server.port, seed)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    expect(set(statuses) <= {200, 503} and statuses.count(200) > 100 and len(statuses) == 320, statuses)
    same(DB.rows("SELECT sum(quantity)::int AS n FROM items WHERE id BETWEEN 31 AND 34"), [{"n": 4000}], "the sum")


# ------------------------------------------------------------------------------------------------------- limits ----

def ask_beside(port, count, method, target, body):
    """Asks `count` times at once; threads, and the list that answers come into."""
    answers = []

    def ask():
        with Http(port) as http:
            answers.append(http.ask(method, target, body))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, answers


CHANGE = {"name": "changed", "price": 1, "quantity": 1}


def case_queue_is_bounded(program, flags):
    """One query runs into a lock, some wait behind it, the rest is told to come again."""
    limits = ["--db-connections", "1", "--db-inflight", "2", "--db-queue", "3", "--db-timeout", "60s"]
    with DB.session() as holder, arena.Arena(program, "--workers", "1", *cluster.flags_of(DB, *limits), *flags) as server:
        cluster.until(lambda: cluster.ready(server.port), "ready")
        holder.do("BEGIN")
        holder.do("SELECT 1 FROM items WHERE id = 41 FOR UPDATE")
        threads, answers = ask_beside(server.port, 12, "PUT", "/crud/items/41", CHANGE)
        cluster.until(lambda: len(answers) + arena.active_requests(server.port) == 12, "all have asked")
        cluster.until(lambda: len(answers) >= 5, "shed")
        same(sorted({a[0] for a in answers}), [503], "those that were told at once")
        expect(all(a[1]["Retry-After"] for a in answers), "Retry-After")
        shed = len(answers)
        expect(5 <= shed <= 9, f"{shed} of 12 were shed with 2 in flight and room for 3")
        holder.do("COMMIT")
        for thread in threads:
            thread.join()
        same([a[0] for a in answers[shed:]], [200] * (12 - shed), "those that waited")


def case_deadline(program, flags):
    with DB.session() as holder, serve(program, flags, "--db-timeout", "300ms") as server, Http(server.port) as http:
        cluster.until(lambda: cluster.ready(server.port), "ready")
        holder.do("BEGIN")
        holder.do("SELECT 1 FROM items WHERE id = 42 FOR UPDATE")
        started = time.monotonic()
        same(http.ask("PUT", "/crud/items/42", CHANGE)[0], 504, "locked for too long")
        expect(0.25 < time.monotonic() - started < 30, time.monotonic() - started)
        cluster.until(lambda: http.get("/crud/items/42")[0] == 200, "others are served")
        waiting = "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        cluster.until(lambda: DB.rows(waiting) == [{"n": 0}], "what nobody waits for is cancelled")
        holder.do("ROLLBACK")
        same(http.ask("PUT", "/crud/items/42", CHANGE)[0], 200, "after that")


def case_client_leaves(program, flags):
    """The answer of who has left goes to nobody else."""
    with DB.session() as holder, serve(program, flags, "--db-connections", "2") as server, Http(server.port) as http:
        cluster.until(lambda: cluster.ready(server.port), "ready")
        holder.do("BEGIN")
        holder.do("SELECT 1 FROM items WHERE id = 43 FOR UPDATE")
        text = json.dumps(CHANGE).encode()
        for _ in range(20):
            with server.connect() as sock:
                sock.sendall(b"PUT /crud/items/43 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
                time.sleep(0.01)
        threads, answers = ask_beside(server.port, 10, "GET", "/crud/items/44", None)
        holder.do("ROLLBACK")
        for thread in threads:
            thread.join()
        same([json.loads(a[2])["id"] for a in answers], [44] * 10, "answers of those who stayed")
        same(http.json("GET", "/crud/items/45", 200)["id"], 45, "after that")


# ------------------------------------------------------------------------------------------- without a database ----

ROUTES = [("GET", "/crud/items/1", None), ("GET", "/async-db", None), ("GET", "/crud/items?category=toys", None),
          ("POST", "/crud/items", GOOD), ("PUT", "/crud/items/1", CHANGE), ("GET", "/db/two", None),
          ("POST", "/db/transfer", {"from": 1, "to": 2, "quantity": 1})]


def all_unavailable(http, retry=True):
    for method, target, body in ROUTES:
        status, headers, _ = http.ask(method, target, body)
        same(status, 503, target)
        expect(headers["Retry-After"] or not retry, f"{target}: Retry-After")
    same([http.get(t)[0] for t in ("/pipeline", "/healthz")], [200, 200], "the rest")


def case_no_database(program, flags):
    with arena.Arena(program, "--workers", "1", "--db", "none", *flags) as server, Http(server.port) as http:
        all_unavailable(http, retry=False)
        same(http.get("/readyz")[0], 200, "/readyz: none is configured")
        refused(http, "POST", "/crud/items", 400, "id is missing", {})


def case_database_comes_later(program, flags):
    with cluster.Cluster(DB.template) as own:
        own.stop()
        with arena.Arena(program, "--workers", "2", *cluster.flags_of(own), *flags) as server, Http(server.port) as http:
            all_unavailable(http)
            same(http.get("/readyz")[0], 503, "/readyz")
            own.start()
            took = cluster.until(lambda: http.get("/crud/items/1")[0] == 200, "served")
            cluster.until(lambda: cluster.ready(server.port), "ready")
            started = time.monotonic()
            own.psql("SELECT 1")
            usual = time.monotonic() - started
            print(f"  {took * 1000:.0f} ms after the database was there; psql takes {usual * 1000:.0f} ms")
            expect(took < max(2, 20 * usual), f"{took:.1f} s after the database was there")
            read = http.json("GET", "/crud/items/2", 200)
            same(read["id"], 2, "an item")


def case_bad_settings(program, flags):
    for url, code, word in (("postgres://h/db?sslmode=require", 78, "sslmode"), ("postgres://h/db?what=1", 2, "what"),
                            ("nonsense", 2, "--db")):
        done = subprocess.run([program, "--listen", "127.0.0.1:0", "--db", url, *flags], capture_output=True, text=True, timeout=60,
                              check=False)
        same(done.returncode, code, url)
        expect(word in done.stderr, f"{url}: {done.stderr}")


def case_metrics(program, flags):
    with serve(program, flags) as server, Http(server.port) as http:
        for identity in range(1, 51):
            http.get(f"/crud/items/{identity}")
        families = exposition.parse(http.get("/metrics")[2].decode())
        expect(any(name.startswith("db_client_") for name in families), sorted(families))


def main(argv):
    global DB
    if len(argv) not in (3, 4):
        sys.exit(__doc__)
    code = cluster.skip_without()
    if code is not None:
        return code
    with cluster.Cluster(argv[2], "deadlock_timeout=20ms") as DB:
        cases = [(f"{name.removeprefix('case_')} {backend}",
                  lambda function=function, backend=backend: function(argv[1], ["--io", backend]))
                 for backend in arena.backends(argv[1]) for name, function in list(globals().items())
                 if name.startswith("case_") and (len(argv) < 4 or argv[3] in f"{name} {backend}")]
        return arena.run_cases(cases)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
