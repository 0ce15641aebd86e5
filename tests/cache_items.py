#!/usr/bin/env python3
"""Items that are kept for a moment, while they are changed: who has the answer to a change, or began after somebody had it, never
sees the item as it was before, whichever of four workers is asked.

usage: cache_items.py ARENA TEMPLATE [long | CASE]      TEMPLATE: the folder of a cluster that this one begins as a copy of
`long`: each case for longer, and one with accidents.
"""
import collections
import json
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402
import cluster  # noqa: E402
from cache_client import Client, Threads, ask, expect, same, stats, workers_that_served  # noqa: E402

WORKERS = 4
READERS = 24
GAP = "50ms"
TTL_OF_EVER = "30s"  # what is kept wrongly is seen until the end of the case
DB = None            # the cluster of all cases
GONE = {503, 504}    # what a change or a read may end with in an accident


def item(version, identity):
    return {"id": identity, "name": f"v{version}", "category": "toys", "price": version, "quantity": 9}


class Board:
    """What was answered to changes: `floor` of an item is the least version that a read may show that begins now."""

    def __init__(self):
        self.floors = collections.defaultdict(int)
        self.changes = self.reads = self.hits = self.old = self.gone = 0
        self.examples = []

    def read(self, client, identity, version_of):
        floor = self.floors[identity]  # before the request is sent
        answer = client.ask(f"/crud/items/{identity}")
        self.reads += 1
        if answer.status != 200:
            self.gone += 1
            return answer.status
        self.hits += answer.cache == "HIT"
        shown = version_of(json.loads(answer.body))
        if shown < floor:
            self.old += 1
            self.examples.append(f"item {identity}: {shown} after the answer that said {floor} ({answer.cache})")
        return 200

    def watch(self, work, seconds):
        """Lets them work for so long, and longer on a machine where that is not enough to show anything."""
        with Threads(work) as threads:
            time.sleep(seconds)
            arena.until(lambda: threads.errors or (self.changes >= 20 and self.hits >= 50), "changes, and hits")

    def judge(self, hits_at_least):
        ratio = self.hits / max(self.reads, 1)
        print(f"  {self.changes} changes, {self.reads} reads, {ratio:.2f} of them hits, {self.gone} without an answer")
        expect(not self.old, f"{self.old} reads were old: {self.examples[:3]}")
        expect(ratio >= hits_at_least, "hardly anything was kept: this shows nothing")


def price_of(found):
    return found["price"]


def serve(program, io, *more):
    return arena.Arena(program, "--io", io, "--workers", str(WORKERS), "--store-bytes", "16M", *cluster.flags_of(DB, *more))


def writer(board, port, identity, ending, allowed=frozenset({200, 201})):
    """Changes one item, a version after the other, by PUT and POST in turn."""
    draws = random.Random(identity)
    with Client(port) as client:
        version = 1
        while not ending.is_set():
            version += 1
            if version % 3 == 0:
                answer = client.json("POST", "/crud/items", item(version, identity))
            else:
                answer = client.json("PUT", f"/crud/items/{identity}", item(version, identity))
            expect(answer.status in allowed, f"a change of item {identity}: {answer}")
            if answer.status < 300:
                board.floors[identity] = version
                board.changes += 1
            ending.wait(draws.choice((0, 0.002, 0.02, 0.06, 0.12)))


def reader(board, port, ids, seed, ending, version_of=price_of, allowed=frozenset({200})):
    draws = random.Random(seed)
    while not ending.is_set():
        with Client(port) as client:  # anew now and then: another worker
            for _ in range(40):
                status = board.read(client, draws.choice(ids), version_of)
                expect(status in allowed, f"a read: {status}")
                if ending.is_set():
                    return


def changed_while_read(program, io, seconds, *more):
    ids = [11, 12, 13, 14]
    board = Board()
    with serve(program, io, *more) as server:
        cluster.until(lambda: cluster.ready(server.port), "ready")
        for identity in ids:
            same(ask(server.port, "/crud/items", "POST", json.dumps(item(1, identity)).encode()).status, 201, "the first version")
        work = [lambda ending, identity=identity: writer(board, server.port, identity, ending) for identity in ids]
        work += [lambda ending, seed=seed: reader(board, server.port, ids, seed, ending) for seed in range(READERS)]
        board.watch(work, seconds)
        expect(workers_that_served(server.port) >= 3, "the kernel gave all clients to one or two workers")
    return board


def case_changes_with_a_gap(program, io, seconds):
    """Between the reading of a row and its keeping, the item is changed again and again."""
    changed_while_read(program, io, seconds, "--item-gap", GAP, "--item-ttl", TTL_OF_EVER).judge(0.05)


def case_changes_without_a_gap(program, io, seconds):
    changed_while_read(program, io, seconds / 2, "--item-ttl", TTL_OF_EVER).judge(0.05)


def case_transfers(program, io, seconds):
    """What was moved from one item to another is seen in both."""
    first, second = 21, 22
    board = Board()
    version_of = {first: lambda found: -found["quantity"], second: lambda found: found["quantity"]}

    def move(port, ending):
        with Client(port) as client:
            while not ending.is_set():
                answer = client.json("POST", "/db/transfer", {"from": first, "to": second, "quantity": 1})
                same(answer.status, 200, f"a transfer: {answer}")
                told = json.loads(answer.body)
                board.floors[first], board.floors[second] = -told["left"], told["held"]
                board.changes += 1
                ending.wait(0.03)

    with serve(program, io, "--item-gap", "20ms", "--item-ttl", TTL_OF_EVER) as server:
        cluster.until(lambda: cluster.ready(server.port), "ready")
        for identity in (first, second):
            body = json.dumps(item(1, identity) | {"quantity": 1000000}).encode()
            same(ask(server.port, "/crud/items", "POST", body).status, 201, "at first")
        board.floors[first], board.floors[second] = -1000000, 1000000
        work = [lambda ending: move(server.port, ending)]
        work += [lambda ending, seed=seed, identity=identity: reader(board, server.port, [identity], seed, ending, version_of[identity])
                 for seed in range(8) for identity in (first, second)]
        board.watch(work, seconds / 2)
    board.judge(0.05)


def price_in_database(identity):
    return int(DB.psql(f"SELECT price FROM items WHERE id = {identity}"))


SLOW_COMMIT = """CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.9); RETURN NULL; END$$;
CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT OR UPDATE ON items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.id IN (31, 32, 33, 34)) EXECUTE FUNCTION wait_at_commit()"""


def row_of(identity):
    return DB.rows(f"SELECT price, quantity FROM items WHERE id = {identity}")[0]


def read_in_time(port, identity):
    answer = ask(port, f"/crud/items/{identity}")
    if answer.status == 504:
        raise arena.TooLate("reading took as long as what shall take too long")
    return answer


def case_unknown_outcomes(program, io, _):
    """A change that was not answered in time may have been done: what was kept is removed then, too."""
    version = 1000 + max(price_in_database(31), price_in_database(32))
    put, post = (json.dumps(item(version, i)).encode() for i in (31, 32))
    changes = [("PUT", "/crud/items/31", put, [31]), ("POST", "/crud/items", post, [32]),
               ("POST", "/db/transfer", b'{"from":33,"to":34,"quantity":1}', [33, 34])]
    DB.psql(SLOW_COMMIT.split(";\n")[0], SLOW_COMMIT.split(";\n")[1])
    try:
        with serve(program, io, "--db-timeout", "500ms", "--db-grace", "30s", "--item-ttl", TTL_OF_EVER) as server:
            cluster.until(lambda: cluster.ready(server.port), "ready")
            for method, target, body, ids in changes:
                before = {i: read_in_time(server.port, i).body for i in ids}
                rows = {i: row_of(i) for i in ids}
                same({read_in_time(server.port, i).cache for i in ids}, {"HIT"}, f"{target}: it is kept")
                same(ask(server.port, target, method, body).status, 504, f"{target}: too slow")
                cluster.until(lambda: all(row_of(i) != rows[i] for i in ids), f"{target}: it was done after all")
                for i in ids:  # nobody has read meanwhile
                    answer = read_in_time(server.port, i)
                    same((answer.status, answer.cache), (200, "MISS"), f"{target}: item {i} afterwards")
                    same(answer.body == before[i], False, f"{target}: item {i} was changed, and its old bytes are shown")
                    row = row_of(i)
                    same({name: json.loads(answer.body)[name] for name in row}, row, f"{target}: item {i}")
    finally:
        DB.psql("DROP TRIGGER wait_at_commit ON items", "DROP FUNCTION wait_at_commit")


def case_what_is_kept(program, io, _):
    """The item's number is the key; what is not there, or is no number, is asked for each time; a change begins anew."""
    with serve(program, io, "--item-ttl", "10s") as server, Client(server.port) as client:
        cluster.until(lambda: cluster.ready(server.port), "ready")
        same([client.ask(f"/crud/items/{i}").cache for i in ("41", "41", "041", "0000041")], ["MISS", "HIT", "HIT", "HIT"], "spellings")
        for nobody in ("7000000", "3000000000", "x", "+41", "-0"):
            answers = [client.ask(f"/crud/items/{nobody}") for _ in range(2)]
            same([answer.status for answer in answers], [400 if nobody in ("x", "+41") else 404] * 2, nobody)
            same({answer.cache for answer in answers} & {"HIT", "STALE"}, set(), f"{nobody}: X-Cache")
        same(client.json("POST", "/crud/items", item(3, 7000000)).status, 201, "now it is there")
        same(client.ask("/crud/items/7000000").status, 200, "and seen")
        same(client.json("PUT", "/crud/items/0041", item(5, 41)).status, 200, "a change by another spelling")
        answer = client.ask("/crud/items/41")
        same((answer.cache, json.loads(answer.body)["price"]), ("MISS", 5), "is seen")
        etag = answer.fields["etag"]
        same(client.ask("/crud/items/41", If_None_Match=etag).status, 304, "not modified")
        same(client.json("PUT", "/crud/items/41", item(6, 41)).status, 200, "a change")
        answer = client.ask("/crud/items/41", If_None_Match=etag)
        same((answer.status, json.loads(answer.body)["price"]), (200, 6), "modified")
        DB.psql("DELETE FROM items WHERE id = 7000000")
        same(client.json("PUT", "/crud/items/41", {"name": 1}).status, 400, "a change that is none")
        same(client.ask("/crud/items/41").cache, "HIT", "removes nothing")
    with serve(program, io) as server, Client(server.port) as client:
        cluster.until(lambda: cluster.ready(server.port), "ready")
        with arena.within(0.2, "the time to live"):
            same([client.ask("/crud/items/42").cache for _ in range(2)], ["MISS", "HIT"], "by default")
        time.sleep(0.21)
        same(client.ask("/crud/items/42").cache, "MISS", "after 200 ms")
    with serve(program, io, "--item-ttl", "0") as server, Client(server.port) as client:
        cluster.until(lambda: cluster.ready(server.port), "ready")
        same([client.ask("/crud/items/43").cache for _ in range(2)], [None, None], "not at all")
        same(client.json("PUT", "/crud/items/43", item(6, 43)).status, 200, "and changed")


def long_accidents(program, io, seconds):
    """Backends are terminated all the time. A change that was not answered may have been done: what is shown afterwards is
    what the database has."""
    ids = [51, 52, 53]
    board = Board()
    checked = 0

    def change(port, identity, ending):
        nonlocal checked
        draws = random.Random(identity)
        version = 1
        while not ending.is_set():
            with Client(port) as client:
                version += 1
                answer = client.json("PUT", f"/crud/items/{identity}", item(version, identity))
                expect(answer.status in GONE | {200}, f"a change: {answer}")
                if answer.status == 200:
                    board.floors[identity] = version
                    board.changes += 1
                else:
                    board.floors[identity] = price_in_database(identity)
                    checked += 1
                ending.wait(draws.choice((0, 0.002, 0.01)))

    def kill(ending):
        while not ending.wait(0.15):
            DB.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'arena'")

    with serve(program, io, "--item-gap", "5ms", "--item-ttl", TTL_OF_EVER) as server:
        cluster.until(lambda: cluster.ready(server.port), "ready")
        for identity in ids:
            same(ask(server.port, "/crud/items", "POST", json.dumps(item(1, identity)).encode()).status, 201, "the first version")
        work = [lambda ending, identity=identity: change(server.port, identity, ending) for identity in ids] + [kill]
        work += [lambda ending, seed=seed: reader(board, server.port, ids, seed, ending, allowed=GONE | {200}) for seed in range(READERS)]
        board.watch(work, seconds)
        print(f"  {checked} changes without an answer; {stats(server.port)['total']['responses']}")
    board.judge(0.1)
    expect(checked > 3, "no change was cut off")


def main(argv):
    global DB
    if len(argv) not in (3, 4):
        sys.exit(__doc__)
    code = cluster.skip_without()
    if code is not None:
        return code
    program, is_long = argv[1], argv[3:] == ["long"]
    cases = [(name[5:], function) for name, function in globals().items()
             if name.startswith("case_") or (name.startswith("long_") and (is_long or argv[3:] == [name[5:]]))]
    if len(argv) > 3 and not is_long:
        cases = [(name, function) for name, function in cases if argv[3] in name]
    seconds = 30 if is_long else 4
    threading.stack_size(256 * 1024)
    with cluster.Cluster(argv[2]) as db:
        DB = db
        return arena.run_cases([(f"{io}: {name}", lambda io=io, function=function: function(program, io, seconds))
                                for io in arena.backends(program) for name, function in cases])


if __name__ == "__main__":
    sys.exit(main(sys.argv))
