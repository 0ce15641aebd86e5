#!/usr/bin/env python3
"""Both backends must answer the same bytes to the same bytes, and leave the connection in the same way.

usage: twins.py ARENA FUZZ_CORPUS

Runs arena once with each backend and sends all of twins_corpus.py and of the fuzzer's inputs to both; the values of Date
are masked. The answers must be the corpus's, too. A set of requests is sent again, in two pieces cut at every byte."""
import asyncio
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402
import twins_corpus as corpus  # noqa: E402

AT_ONCE = 100         # connections
QUIET_SECONDS = 3     # without a byte: the server waits for more
GRACE_SECONDS = 0.05  # when all is there that should be there
LIMIT_SECONDS = 20
GAP_SECONDS = 0.004   # between two pieces
NOT_COMPARED = 77


def masked(data):
    return re.sub(rb"\r\nDate: [^\r]*\r\n", b"\r\nDate: *\r\n", data)


def summary(data, end):
    """The statuses and the end: "200 404 open"."""
    return " ".join([status.decode() for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)] + [end])


def without_interim(data):
    """Whether 100 (Continue) is sent depends on how much of the body has come already: RFC 9110 §10.1.1."""
    return data.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")


def without_close(data):
    """The last response says that it is the last when the client's end was seen before it was written: a matter of time."""
    return data.replace(b"\r\nConnection: close\r\n", b"\r\n")


async def send(writer, pieces, half):
    try:
        for number, piece in enumerate(pieces):
            if number > 0:
                await asyncio.sleep(GAP_SECONDS)
            writer.write(piece)
            await writer.drain()
        if half:
            writer.write_eof()
    except OSError:
        pass  # the server has had enough: what it said is what counts


async def receive(reader, want):
    """(bytes, how it ended): until the end, until it is quiet, or until `want` (bytes, end) is there."""
    data = b""
    while True:
        there = want is not None and want[1] == "open" and len(masked(data)) >= len(want[0])
        quiet = GRACE_SECONDS if there else LIMIT_SECONDS if want is not None else QUIET_SECONDS
        try:
            more = await asyncio.wait_for(reader.read(1 << 20), quiet)
        except asyncio.TimeoutError:
            return data, "open"
        except ConnectionResetError:
            return data, "reset"
        if not more:
            return data, "closed"
        data += more


async def talk(port, pieces, half=False, want=None):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    try:
        sender = asyncio.ensure_future(send(writer, pieces, half))
        data, end = await receive(reader, want)
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        return masked(data), end
    finally:
        writer.transport.abort()


async def talk_all(port, talks):
    """Many at once; the results in order. Each talk: (pieces, half, want)."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(pieces, half, want):
        async with gate:
            return await talk(port, pieces, half, want)

    return await asyncio.gather(*(one(*each) for each in talks))


def fuzz_cases(folder):
    """The bytes that the inputs send: behind a byte of flags, one that counts the cuts, and the cuts."""
    for file in sorted(Path(folder).iterdir()):
        data = file.read_bytes()
        yield f"fuzz {file.name}", "tests/fuzz", data[2 + (data[1] & 15):], None, {}


def cases_of(folder):
    for case in corpus.SPLIT + corpus.VALID + corpus.BAD:
        name, source, data, answer = case[:4]
        yield name, source, data, " ".join(answer.split()), case[4] if len(case) > 4 else {}
    yield from fuzz_cases(folder)


def differ(what, one, other):
    """A message about the first byte that differs."""
    (a, a_end), (b, b_end) = one, other
    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    near = slice(max(0, at - 60), at + 60)
    return f"{what}: {a_end} and {b_end}; byte {at} of {len(a)} and {len(b)}: {a[near]!r} and {b[near]!r}"


def compare_whole(cases, answers):
    """(name, function) of each case: `answers` are those of each variant, by its name."""
    names = list(answers)
    for i, (name, source, _, want, options) in enumerate(cases):
        def case(i=i, want=want, half=options.get("half", False)):
            comparable = [(without_close(data) if half else data, end) for data, end in (answers[name][i] for name in names)]
            first = comparable[0]
            for other, there in zip(names[1:], comparable[1:]):
                if there != first:
                    raise AssertionError(differ(f"{names[0]} and {other}", first, there))
            got = summary(without_interim(first[0]), first[1])
            if want is not None and got != want:
                raise AssertionError(f"{got[:200]}, and not {want[:200]}")
        yield f"{name} ({source})", case


def split_talks(data, whole):
    want = without_interim(whole[0]), whole[1]
    return [([data[:cut], data[cut:]], False, want) for cut in range(1, len(data))]


def compare_splits(cases, answers, splits):
    for variant, results in splits.items():
        for i, (name, source, *_) in enumerate(cases):
            def case(i=i, variant=variant, results=results):
                data, end = answers[variant][i]
                for cut, (got, got_end) in enumerate(results[i], 1):
                    if (without_interim(got), got_end) != (without_interim(data), end):
                        raise AssertionError(differ(f"whole, and cut at {cut}", (data, end), (got, got_end)))
            yield f"{variant}: {name} cut at every byte ({source})", case


def main(argv):
    if len(argv) != 3:
        sys.exit(__doc__)
    program, folder = argv[1:]
    if len(arena.backends(program)) < 2:
        print("skipped: only one backend was compiled in, or may be used here")
        return NOT_COMPARED
    cases = list(cases_of(folder))
    to_split = [case[:3] for case in corpus.SPLIT]
    answers, splits = {}, {}
    for name, flags in arena.variants(program):
        with arena.Arena(program, "--workers", "1", *flags) as server:
            talks = [([data], options.get("half", False), None) for _, _, data, _, options in cases]
            answers[name] = asyncio.run(talk_all(server.port, talks))
            if name in arena.backends(program):
                splits[name] = [asyncio.run(talk_all(server.port, split_talks(data, answers[name][i])))
                                for i, (_, _, data) in enumerate(to_split)]
    return arena.run_cases(list(compare_whole(cases, answers)) + list(compare_splits(to_split, answers, splits)))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
