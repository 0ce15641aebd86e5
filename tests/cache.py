#!/usr/bin/env python3
"""The cache of responses, by four workers of arena on each backend: who runs the handler and who waits, what is kept and for how
long, and what clients are told.

usage: cache.py ARENA [CASE]
"""
import concurrent.futures
import itertools
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402
from cache_client import (Client, Clients, Threads, ask, body_of_cached, expect, new_key, same, stats,  # noqa: E402
                          workers_that_served)

WORKERS = 4
COLD_CLIENTS = 50
KEYS = 1000
TTL_SECONDS = 1.0  # of /slow and /slow-grace
FLAGS = ["--workers", str(WORKERS), "--store-bytes", "16M", "--cached-ttl", "60s"]


def kept(more_seconds=0.0):
    """What begins now and is kept after `more_seconds` at the earliest is there until this is over."""
    return arena.within(0.95 * TTL_SECONDS + more_seconds, "the time to live")


def begun(server, key, times=1):
    """Waits until the handler was called so often."""
    arena.until(lambda: ask(server.port, f"/slow-count/{key}").body == b"%d" % times, f"execution {times} of {key}")


# --------------------------------------------------------------------------------------------------- coalescing ----

def one_execution(server):
    """50 clients who ask for what is not there yet: one runs the handler, the others wait for it, whichever worker has them."""
    for ms in (300, 50, 5, 0):
        key = new_key()
        with Clients(server.port, COLD_CLIENTS) as clients, kept():
            for client in clients:
                client.send(f"/slow/{key}?ms={ms}&bytes=600")
            answers = [client.receive() for client in clients]
            same({answer.status for answer in answers}, {200}, "statuses")
            same(len({answer.body for answer in answers}), 1, f"bodies, {ms} ms")
            caches = sorted(str(answer.cache) for answer in answers)
            same(caches, ["HIT"] * (COLD_CLIENTS - 1) + ["MISS"], f"X-Cache, {ms} ms")
            same(ask(server.port, f"/slow-count/{key}").body, b"1", f"executions, {ms} ms")
    expect(workers_that_served(server.port) >= 3, "the kernel gave all clients to one or two workers")


def popular(draws, n):
    """n keys of 1,000, Zipf with exponent 1."""
    return draws.choices(range(KEYS), [1 / (i + 1) for i in range(KEYS)], k=n)


def zipf(server):
    """Popular and rare keys: an execution begins no sooner than the time to live after the one before has begun."""
    prefix = new_key()
    runs = [{} for _ in range(KEYS)]  # execution: when it was asked for, when it was answered
    hits = asked = 0

    def drive(seed, ending):
        nonlocal hits, asked
        draws = random.Random(seed)
        with Client(server.port) as client:
            while not ending.is_set():
                for key in popular(draws, 64):
                    begun = time.monotonic()
                    answer = client.ask(f"/slow/{prefix}.{key}?ms=2")
                    asked += 1
                    if answer.cache == "HIT":
                        hits += 1
                    else:
                        same((answer.status, answer.cache), (200, "MISS"), f"key {key}")
                        same(answer.number in runs[key], False, f"key {key}: {answer.number} was answered as MISS before")
                        runs[key][answer.number] = (begun, time.monotonic())

    with Threads([lambda ending, seed=seed: drive(seed, ending) for seed in range(24)]):
        time.sleep(3)
    executions = 0
    for key, run in enumerate(runs):
        executions += len(run)
        same(sorted(run), list(range(1, len(run) + 1)), f"executions of key {key}")
        for n in range(2, len(run) + 1):
            apart = run[n][1] - run[n - 1][0]
            expect(apart >= TTL_SECONDS, f"key {key} was executed again after {apart:.3f} s")
    print(f"  {asked} requests, {executions} executions, hit ratio {hits / asked:.4f}")
    expect(hits > asked / 10, "hardly anything was a hit")  # far fewer than on an idle machine, and far more than none


def leader_leaves(server):
    """Who began it has gone: it runs on for those who wait, and for those who come later."""
    for reset in (False, True):
        key = new_key()
        target = f"/slow/{key}?ms=400"
        with kept(0.4):
            leader = Client(server.port).send(target)
            begun(server, key)
            with Clients(server.port, 12) as clients:
                for client in clients:
                    client.send(target)
                time.sleep(0.05)
                leader.close(reset)
                same([client.receive().body for client in clients], [b"1"] * 12, "answers")
            answer = ask(server.port, target)
            same((answer.body, answer.cache), (b"1", "HIT"), "later")
    for reset in (False, True):  # nobody waits: it is kept all the same
        key = new_key()
        with kept(0.2):
            leader = Client(server.port).send(f"/slow/{key}?ms=200")
            begun(server, key)
            leader.close(reset)
            time.sleep(0.4)
            answer = ask(server.port, f"/slow/{key}?ms=200")
            same((answer.body, answer.cache), (b"1", "HIT"), "nobody waited")


def not_to_be_kept(server):
    """Who waits for what turns out not to be kept runs the handler, and for a second nobody waits for this key."""
    for how in ("status=404", "status=500", "no-store=1", "bytes=2200000"):
        key = new_key()
        target = f"/slow/{key}?ms=150&{how}"
        with Clients(server.port, 8) as clients:
            for client in clients:
                client.send(target)
            answers = [client.receive() for client in clients]
            same({answer.cache for answer in answers} & {"HIT", "STALE"}, set(), f"{how}: X-Cache")
            same(sorted(answer.number for answer in answers), list(range(1, 9)), f"{how}: each has its own")
            with arena.within(0.75, "eight at once"):
                started = time.monotonic()
                for client in clients:
                    client.send(target)
                same(sorted(client.receive().number for client in clients), list(range(9, 17)), f"{how}: again")
                took = time.monotonic() - started
                expect(took < 0.75, f"{how}: they waited for each other: {took:.2f} s")


def bounded_waiting(program, io):
    """Too many who wait are told to come later, at once; who has waited for too long runs the handler."""
    with arena.Arena(program, "--io", io, "--workers", "1", "--cache-waiters", "3", "--cache-wait", "800ms") as server:
        key = new_key()
        with Clients(server.port, 10) as clients, kept(0.7):
            with arena.within(0.65, "the one they wait for"):
                started = time.monotonic()
                clients[0].send(f"/slow/{key}?ms=700")
                begun(server, key)
                for client in list(clients)[1:]:
                    client.send(f"/slow/{key}?ms=700")
                answers = [client.receive() for client in list(clients)[4:]]
                expect(time.monotonic() - started < 0.65, "they were kept waiting for their 503")
            same({answer.status for answer in answers}, {503}, "those that are too many")
            expect(all(int(answer.fields["retry-after"]) >= 1 for answer in answers), f"Retry-After: {answers[0]}")
            same([client.receive().body for client in list(clients)[:4]], [b"1"] * 4, "the others")
        same(ask(server.port, f"/slow-count/{key}").body, b"1", "executions")
        key = new_key()
        with Clients(server.port, 3) as clients, arena.within(2.4, "the one they wait for"):
            started = time.monotonic()
            clients[0].send(f"/slow/{key}?ms=2500")
            begun(server, key)
            for client in (clients[1], clients[2]):
                client.send(f"/slow/{key}?ms=10")
            answers = [client.receive() for client in (clients[1], clients[2])]
            took = time.monotonic() - started
            same(sorted(answer.number for answer in answers), [2, 3], "those that have waited for too long")
            expect(0.8 <= took < 2.4, f"after {took:.3f} s: each has a deadline of its own")
            same(clients[0].receive().number, 1, "the one they waited for")
        nothing_is_held(server)


# -------------------------------------------------------------------------------------------------------- HTTP ----

etags = {}  # by backend
numbers = itertools.count(1000)  # of /cached/N, each once


def what_clients_are_told(server):
    with Client(server.port) as client:
        target = f"/cached/{next(numbers)}?bytes=1024"
        started = time.monotonic()
        miss = client.ask(target)
        hit = client.ask(target)
        same((miss.status, miss.cache, hit.status, hit.cache), (200, "MISS", 200, "HIT"), "MISS, then HIT")
        same(hit.body, miss.body, "bodies")
        same(len(hit.body), 1024, "its length")
        for name in ("etag", "content-type", "cache-control", "content-length"):
            same(hit.fields.get(name), miss.fields.get(name), name)
        expect("etag" in hit.fields and "cache-control" in hit.fields, f"fields: {hit}")
        expect("age" in hit.fields and int(hit.fields["age"]) <= time.monotonic() - started, f"Age: {hit}")
        expect("date" in hit.fields, "Date")

        head = client.ask(target, "HEAD")
        same((head.status, head.cache, head.body), (200, "HIT", b""), "HEAD")
        for name in ("etag", "content-type", "cache-control", "content-length"):
            same(head.fields.get(name), hit.fields.get(name), f"HEAD: {name}")

        etag = hit.fields["etag"]
        for value in (etag, f"W/{etag}", "*", f'"other", {etag}', f'"a,b" ,W/{etag}'):
            answer = client.ask(target, If_None_Match=value)
            same((answer.status, answer.body, answer.fields.get("etag")), (304, b"", etag), f"If-None-Match: {value}")
            expect("content-type" not in answer.fields or answer.fields.get("content-length") in (None, "1024"), f"{answer}")
        for value in ('"other"', etag.strip('"'), etag[:-2] + '"'):
            answer = client.ask(target, If_None_Match=value)
            same((answer.status, answer.body), (200, hit.body), f"If-None-Match: {value}")
        same(client.ask(target, "HEAD", If_None_Match=etag).status, 304, "HEAD that matches")


def a_miss_is_conditional_too(server):
    """HEAD fills the cache; the ETag is that of the bytes, so it can be known before."""
    with Client(server.port) as client:
        target = f"/cached/{next(numbers)}?bytes=777"
        head = client.ask(target, "HEAD")
        same((head.status, head.cache, head.fields["content-length"], head.body), (200, "MISS", "777", b""), "HEAD first")
        whole = client.ask(target)
        same((whole.cache, len(whole.body), whole.fields["etag"]), ("HIT", 777, head.fields["etag"]), "then GET")
    first, second = new_key(), new_key()
    with Client(server.port) as client:
        etag = client.ask(f"/slow/{first}?ms=0&bytes=50").fields["etag"]
        answer = client.ask(f"/slow/{second}?ms=0&bytes=50", If_None_Match=etag)
        same((answer.status, answer.cache), (304, "MISS"), "the same bytes by another key")


def etag_is_the_same_everywhere(server):
    """It is made of the bytes: another worker, backend or process says the same."""
    seen = {ask(server.port, "/cached/123456?bytes=2000").fields["etag"] for _ in range(12)}
    same(len(seen), 1, "ETags by workers")
    etags[server.backend] = seen.pop()
    same(len(set(etags.values())), 1, f"ETags by backends: {etags}")


def age_and_end(server):
    """Age counts; after the time to live the handler runs again. With a grace the old one is used meanwhile."""
    key = new_key()
    plain, grace = f"/slow/{new_key()}?ms=30", f"/slow-grace/{key}?ms=400"
    with Client(server.port) as client, arena.within(2.3, "the first two seconds"):
        with kept(0.4):
            same(client.ask(grace).body, b"1", "first, with grace")
            same(client.ask(plain).body, b"1", "first")
            answered = time.monotonic()
            time.sleep(0.7)
            same((client.ask(plain).cache, client.ask(grace).cache), ("HIT", "HIT"), "after 0.7 s")
        time.sleep(max(0, answered + 1.2 - time.monotonic()))
        with kept(0.4):
            with arena.within(0.39, "while there is not another one"):
                answer = client.ask(grace)
                same((answer.cache, answer.body, answer.fields["age"]), ("STALE", b"1", "1"), "in its grace")
                answer = client.ask(plain)
                same((answer.cache, answer.body), ("MISS", b"2"), "without a grace")
                same(client.ask(grace).cache, "STALE", "until there is another one")
            arena.until(lambda: client.ask(grace).body == b"2", "the other one")
            same(client.ask(grace).cache, "HIT", "the other one")
            same(ask(server.port, f"/slow-count/{key}").body, b"2", "executions")


def stale_for_many(server):
    """Many who find it stale are all served at once, while one execution replaces it."""
    key = new_key()
    target = f"/slow-grace/{key}?ms=700"
    with Clients(server.port, 30) as clients:
        same(clients[0].ask(target).body, b"1", "first")
        time.sleep(TTL_SECONDS + 0.1)
        with kept(0.7):
            with arena.within(0.65, "while it is replaced"):
                started = time.monotonic()
                for client in clients:
                    client.send(target)
                answers = [client.receive() for client in clients]
                expect(time.monotonic() - started < 0.65, "they waited")
                same({(answer.cache, answer.body) for answer in answers}, {("STALE", b"1")}, "answers")
            arena.until(lambda: clients[0].ask(target).body == b"2", "afterwards")
            same({client.ask(target).body for client in clients}, {b"2"}, "afterwards")
            same(ask(server.port, f"/slow-count/{key}").body, b"2", "executions")


def keys(server):
    """What is not in the key makes no difference; what is, as it was sent."""
    n = next(numbers) + 10**7
    with Client(server.port) as client:
        same(client.ask(f"/cached/{n}").cache, "MISS", "first")
        same(client.ask(f"/cached/{n}?x=1").cache, "HIT", "a query")
        same(client.ask(f"/cached/{n}", Accept="text/html").cache, "HIT", "a field")
        same(client.ask(f"/cached/0{n}").cache, "MISS", "another spelling")
        same(client.ask(f"/slow/{n}?ms=0").body, b"1", "another route: another name")
        same({client.ask("/cached/x").status, client.ask("/cached/x").status}, {400}, "what is not kept")


def authorized(server):
    """Requests with Authorization pass by the cache: neither served from it nor kept."""
    key = new_key()
    target = f"/slow/{key}?ms=0"
    with Client(server.port) as client, kept():
        same(client.ask(target, Authorization="Basic eDp5").number, 1, "with")
        same(client.ask(target).number, 2, "without: it was not kept")
        same(client.ask(target).number, 2, "a hit")
        same(client.ask(target, Authorization="Basic eDp5").number, 3, "with, again")
        same(client.ask(target).number, 2, "what is kept is as it was")


def sizes(server):
    """Copied and pinned bodies, byte by byte, to clients at once that read slowly and some that leave."""
    for size in (1, 2, 1000, 4096, 16384, 16385, 70000, 1000000):
        n = next(numbers)
        wanted = body_of_cached(n, size)
        with Clients(server.port, 6) as clients:
            same(clients[0].ask(f"/cached/{n}?bytes={size}").body, wanted, f"{size} bytes, first")
            for client in clients:
                for _ in range(3):
                    client.send(f"/cached/{n}?bytes={size}")
            clients[1].close(reset=True)
            for client in (client for i, client in enumerate(clients) if i != 1):
                for _ in range(3):
                    answer = client.receive()
                    same((answer.cache, answer.body == wanted), ("HIT", True), f"{size} bytes")


def more_than_fits(server):
    """Objects that push each other out: every answer has its own bytes."""
    draws = random.Random(7)
    hits = asked = 0

    def drive(seed, ending):
        nonlocal hits, asked
        own = random.Random(seed)
        with Client(server.port) as client:
            while not ending.is_set():
                n, size = own.choice(objects)
                answer = client.ask(f"/cached/{n}?bytes={size}")
                if answer.status != 200 or answer.body != body_of_cached(n, size):
                    raise AssertionError(f"/cached/{n}?bytes={size}: {answer.status}, {len(answer.body)} bytes, not its own")
                asked += 1
                hits += answer.cache == "HIT"

    objects = [(n, draws.choice((200, 3000, 20000, 200000))) for n in range(2 * 10**9, 2 * 10**9 + 600)]
    objects += objects[:20] * 20  # some are popular
    with Threads([lambda ending, seed=seed: drive(seed, ending) for seed in range(8)]):
        arena.until(lambda: asked > 200 and 0 < hits < asked, "some hits, and some that are none")
        time.sleep(1.5)
    whole = sum(size for _, size in set(objects)) / 2**20
    print(f"  {asked} requests for {whole:.0f} MiB in a store of 16, hit ratio {hits / asked:.3f}")
    expect(0 < hits < asked, "neither all nor none are hits")


def pipelined(server):
    """Misses, waiters and hits in one pipeline: answers in order."""
    one, other = new_key(), new_key()
    with Client(server.port) as client, kept():
        for target in (f"/slow/{one}?ms=100", f"/slow/{one}?ms=100", "/pipeline", f"/slow/{other}?ms=10", f"/slow/{one}?ms=100"):
            client.send(target)
        answers = [client.receive() for _ in range(5)]
        same([answer.body for answer in answers], [b"1", b"1", b"ok", b"1", b"1"], "bodies")
        same([answer.cache for answer in answers].count("HIT"), 2, "hits")


def nothing_is_held(server):
    """After all that, every pool is full again but for the connection that asks."""
    def held():
        return {(name, pool["in_use"]) for worker in stats(server.port)["workers"] for name, pool in worker["pools"].items()
                if pool.get("in_use", 0) > 1 or (pool.get("in_use", 0) and name not in ("connections", "exchanges", "blocks"))}

    arena.until(lambda: not held(), "nothing is held")


CASES = [one_execution, zipf, leader_leaves, not_to_be_kept, what_clients_are_told, a_miss_is_conditional_too,
         etag_is_the_same_everywhere, age_and_end, stale_for_many, keys, authorized, sizes, more_than_fits, pipelined,
         nothing_is_held]


def on_backend(program, io, name):
    """Its cases, one after another; the exit code."""
    chosen = [case for case in CASES if name in case.__name__]
    with arena.Arena(program, "--io", io, *FLAGS) as server:
        cases = [(f"{io}: {case.__name__}", lambda case=case: case(server)) for case in chosen]
        if name in "bounded_waiting":
            cases.append((f"{io}: bounded_waiting", lambda: bounded_waiting(program, io)))
        return arena.run_cases(cases)


def main(argv):
    if len(argv) not in (2, 3):
        sys.exit(__doc__)
    program = argv[1]
    backends = arena.backends(program)
    with concurrent.futures.ThreadPoolExecutor(len(backends)) as pool:  # most of the time they wait
        codes = list(pool.map(lambda io: on_backend(program, io, argv[2] if len(argv) > 2 else ""), backends))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
