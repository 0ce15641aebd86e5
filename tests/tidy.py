#!/usr/bin/env python3
"""The rules of the house that a compiler does not know: arrows, places of names, sizes, forbidden calls.

usage: tidy.py ROOT [CC...]     prints "file:line: what" for each finding; exit code 1 when there are any

A rule is a function of (path, text) or of the whole tree; the tables say what is allowed. tests/test_tidy.py shows each rule
a bad snippet.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# What the sources of a folder may include, besides their own folder and the system's headers.
ARROWS = {
    "src/mem": set(),
    "src/ring": {"mem"},
    "src/http": {"mem"},
    "src/pg": {"mem"},
    "src/server": {"mem", "ring", "http", "pg"},
}
LINE_CHARS_MAX = {"tests": 140}  # of C: rows of tables may be long; elsewhere 128. Aim at 100 to 110
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = {"src": 600, "include": 600, "examples": 600, "bench": 700, "tests": 700}

BANNED_EVERYWHERE = "gets alloca strtok tmpnam mktemp".split()
# Tests may put text together in buffers of their own: the address sanitizer watches them.
BANNED_OUTSIDE_TESTS = "strcpy strcat sprintf vsprintf".split()
# Protocols are bytes in, bytes out.
BANNED_IN_PROTOCOLS = """malloc calloc realloc free aligned_alloc mmap munmap
    clock_gettime gettimeofday time nanosleep localtime gmtime gmtime_r
    socket bind listen accept accept4 connect send sendto sendmsg recv recvfrom recvmsg read write readv writev
    open openat close poll epoll_wait pthread_create fopen printf fprintf""".split()
PROTOCOL_FOLDERS = ("src/http", "src/pg")

# The counters of ring.h carry the names of system calls.
CALL_NAMES = {"io_uring_enter", "io_uring_register", "epoll_wait", "epoll_ctl", "epoll_pwait2", "epoll_create1"}

# Sources without a tests/test_NAME.c, and where they are tested instead.
CONTRACT = "test_ring_contract.c runs the whole contract of ring.h on every backend"
TESTED_ELSEWHERE = {
    "src/mem/store_index.c": "tests/test_store_object.c",
    "src/mem/store_limbo.c": "tests/test_store_object.c",
    "src/mem/store_warm.c": "tests/test_store.c",
    "src/pg/pg_conn_end.c": "tests/test_pg_conn.c",
    "src/pg/pg_conn_read.c": "tests/test_pg_conn.c",
    "src/pg/pg_conn_send.c": "tests/test_pg_conn.c",
    "src/pg/pg_settings_read.c": "tests/test_pg_settings.c",
    "src/pg/pg_json_value.c": "tests/test_pg_json.c",
    "src/pg/pg_pool_life.c": "tests/test_pg_pool.c",
    "src/pg/pg_pool_queue.c": "tests/test_pg_pool.c",
    "src/ring/common.c": CONTRACT,
    "src/ring/epoll.c": CONTRACT,
    "src/ring/epoll_socket.c": CONTRACT,
    "src/ring/read.c": CONTRACT,
    "src/ring/sim_net.c": CONTRACT,
    "src/ring/sim_socket.c": CONTRACT,
    "src/ring/sim_world.c": CONTRACT,
    "src/ring/socket.c": CONTRACT,
    "src/ring/uring.c": CONTRACT,
    "src/ring/uring_accept.c": CONTRACT,
    "src/ring/uring_buffers.c": CONTRACT,
    "src/ring/uring_probe.c": "tests/test_ring_probe.c",
    "src/ring/uring_probe_socket.c": "tests/test_ring_probe.c",
    "src/ring/uring_receive.c": CONTRACT,
    "src/ring/uring_region.c": CONTRACT,
    "src/ring/uring_send.c": CONTRACT,
    "src/ring/uring_setup.c": CONTRACT,
    "src/ring/uring_socket.c": CONTRACT,
    "src/server/api_rows.c": "tests/test_api_db.c",
    "src/server/config_db.c": "tests/test_config.c",
    "src/server/db_connect.c": "tests/test_db.c",
    "src/server/db_metrics.c": "tests/test_db.c",
    "src/server/db_query.c": "tests/test_api_db.c",
    "src/server/db_statements.c": "tests/test_db.c",
    "src/server/doctor_advise.c": "tests/test_doctor.c",
    "src/server/doctor_host.c": "tests/doctor.py",
    "src/server/doctor_judge_host.c": "tests/test_doctor.c",
    "src/server/doctor_judge_ring.c": "tests/test_doctor.c",
    "src/server/doctor_print.c": "tests/test_doctor.c",
    "src/server/doctor_serve.c": "tests/doctor.py",
    "src/server/doctor_try.c": "tests/doctor.py",
    "src/server/main.c": "tests/process.py",
    "src/server/metrics.c": "tests/test_figures.c and tests/ops.py",
    "src/server/metrics_write.c": "tests/test_figures.c and tests/ops.py",
    "src/server/resources.c": "tests/test_storage.c",
    "src/server/stats.c": "tests/test_figures.c",
    "src/server/supervise.c": "tests/process.py and tests/ops.py",
}

SOURCE_FOLDERS = ("include", "src", "examples", "bench", "tests")
TEXT_SUFFIXES = (".c", ".h", ".py", ".sh", ".build", ".txt", ".md", "")
UNFINISHED = r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"


# ------------------------------------------------------------------------------------------------------- helpers ----

def blank(match):
    """As many lines as there were, and nothing else."""
    return re.sub(r"[^\n]", " ", match.group(0))


C_TOKENS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|' + r"'(?:\\.|[^'\\\n])*'", re.S)


def code_only(text):
    """C without comments, strings and character constants; lines and columns stay."""
    return C_TOKENS.sub(blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def matches(pattern, text):
    """(line, match) of each place."""
    return [(line_of(text, m.start()), m) for m in re.finditer(pattern, text, re.M)]


def calls_of(names, text):
    return matches(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(", code_only(text))


def folder_of(path):
    return str(Path(path).parent)


def is_test(path):
    return path.startswith("tests/")


# --------------------------------------------------------------------------------------------------- rules for C ----

def rule_includes(path, text):
    """Arrows between folders; includes are written from src/; _priv.h stays in its folder."""
    for line, match in matches(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', text):
        name = match.group(1)
        if name == "ringmain.h":
            if path.startswith("src/") and not path.startswith("src/server/"):
                yield line, "ringmain.h is the server's and the applications'"
        elif path.startswith("src/"):
            yield from ((line, why) for why in source_include(path, name))
        elif path.startswith("examples/"):
            if "/" in name:
                yield line, f'an example includes the public header only, not "{name}"'
        elif path.startswith("bench/") and name.endswith("_priv.h"):
            yield line, f'"{name}" stays inside its folder'
        elif name.startswith(".."):
            yield line, f'"{name}": includes are written from src/'


def source_include(path, name):
    own = folder_of(path).removeprefix("src/")
    folder = name.split("/")[0]
    if "/" not in name or folder.startswith("."):
        yield f'"{name}": includes are written from src/'
    elif folder != own and folder not in ARROWS.get("src/" + own, set()):
        yield f'"{name}": {own} does not depend on {folder}'
    elif folder != own and name.endswith("_priv.h"):
        yield f'"{name}" stays inside its folder'


def rule_backend_names(path, text):
    """liburing's names only in src/ring/uring*, epoll's only in src/ring/epoll* (and in their own tests)."""
    code = code_only(text)
    for word, pattern in (("uring", r"(?<!\w)(io_uring\w*|IORING_\w+|IOSQE_\w+|IO_URING\w+|<liburing[^>]*>)"),
                          ("epoll", r"(?<!\w)(epoll_\w+|EPOLL\w+|<sys/epoll\.h>)")):
        if re.match(rf"(src/ring|tests)/(test_)?{word}\w*\.[ch]$", path):
            continue
        for line, match in matches(pattern, code):
            name = match.group(1)
            if not (path.startswith("src/ring/") and name in CALL_NAMES):
                yield line, f"{name} belongs to src/ring/{word}*"


def rule_backend_switches(path, text):
    """One table knows which backends were compiled in."""
    if path == "src/ring/ring.c":
        return
    for line, match in matches(r"\bRM_(URING|EPOLL)\b", code_only(text)):
        yield line, f"RM_{match.group(1)} is read in src/ring/ring.c only"


def rule_banned(path, text):
    for line, match in calls_of(BANNED_EVERYWHERE + (BANNED_OUTSIDE_TESTS if not is_test(path) else []), text):
        yield line, f"{match.group(1)} is not used here"
    if path.startswith(PROTOCOL_FOLDERS):
        for line, match in calls_of(BANNED_IN_PROTOCOLS, text):
            yield line, f"{match.group(1)}: a protocol has no socket, clock, file or malloc"


def rule_function_length(path, text):
    for start, end in functions_of(text):
        if end - start + 1 > FUNCTION_LINES_MAX:
            yield start, f"a function of {end - start + 1} lines (at most {FUNCTION_LINES_MAX})"


def functions_of(text):
    """(first line, last line) of each function body with its signature. Bodies end with a brace in the first column."""
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, code_only(text), flags=re.M)
    head, start, inside = "", 0, False
    for number, line in enumerate(code.split("\n"), 1):
        line = line.rstrip()
        if inside:
            inside = not line.startswith("}")
            if not inside:
                if "(" in head and "=" not in head:
                    yield start, number
                head = ""
        elif line:
            start = start if head else number
            head += line + "\n"
            if line.endswith("{"):
                inside = True
            elif line.endswith((";", "}")):
                head = ""


def rule_file_length(path, text):
    most = FILE_LINES_MAX.get(path.split("/")[0])
    count = text.count("\n")
    if most and count > most:
        yield count, f"{count} lines (at most {most})"


def rule_line_length(path, text):
    most = LINE_CHARS_MAX.get(path.split("/")[0], 128)
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > most:
            yield number, f"{len(line)} characters (at most {most})"


def rule_typedef(path, text):
    """struct x, not typedef; function types are the exception."""
    for line, match in matches(r"^[ \t]*typedef\b([^;{]*)[;{]", code_only(text)):
        if "(" not in match.group(1):
            yield line, "typedef is for function types only"


C_RULES = (rule_includes, rule_backend_names, rule_backend_switches, rule_banned, rule_function_length, rule_file_length,
           rule_line_length, rule_typedef)


# --------------------------------------------------------------------------------------------- rules for any text ----

def rule_blanks(path, text):
    for number, line in enumerate(text.split("\n"), 1):
        if "\t" in line:
            yield number, "a tab"
        if line != line.rstrip():
            yield number, "blanks at the end of the line"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no newline at the end of the file"


def rule_unfinished(path, text):
    for line, match in matches(UNFINISHED, text):
        yield line, f"unfinished: {match.group(1)}"


TEXT_RULES = (rule_blanks, rule_unfinished)


# -------------------------------------------------------------------------------------------- rules for the tree ----

def tree_tests_exist(root, files):
    """Every source has its test: tests/test_STEM.c, or tests/test_FOLDER_STEM.c where the stem alone says too little."""
    for path in files:
        if not (path.startswith("src/") and path.endswith(".c")):
            continue
        stem, folder = Path(path).stem, Path(path).parent.name
        names = (f"tests/test_{stem}.c", f"tests/test_{folder}_{stem}.c")
        if path not in TESTED_ELSEWHERE and not any((root / name).exists() for name in names):
            yield path, 1, f"tests/test_{stem}.c is missing"
    for path in TESTED_ELSEWHERE if (root / "src/ring/ring.h").exists() else ():
        if not (root / path).exists():
            yield "tests/tidy.py", 1, f"TESTED_ELSEWHERE names {path}, which is not there"


def liburing_flags():
    try:
        done = subprocess.run(["pkg-config", "--cflags", "liburing"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.replace("-I", "-isystem").split() if done.returncode == 0 else None


def tree_headers_alone(root, files, cc):
    """Every header compiles alone, twice in one file, without a warning."""
    uring_flags = liburing_flags()
    with tempfile.TemporaryDirectory() as folder:
        for path in (f for f in files if f.endswith(".h") and not is_test(f)):
            if "/uring" in path and uring_flags is None:
                continue
            main = Path(folder) / "alone.c"
            main.write_text(f'#include "{root / path}"\n#include "{root / path}"\nint main(void) {{ return 0; }}\n')
            command = [*cc, "-std=gnu2x", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror",
                       "-fsyntax-only", f"-I{root / 'src'}", f"-I{root / 'include'}", *(uring_flags or []), str(main)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                errors = [line for line in done.stderr.splitlines() if "error:" in line] or [done.stderr]
                yield path, 1, "does not compile alone: " + errors[0].replace(str(root) + "/", "")


# --------------------------------------------------------------------------------------------------------- the run ----

def check_file(path, text):
    """All findings in one file, as (path, line, what)."""
    rules = (C_RULES if path.endswith((".c", ".h")) else ()) + (TEXT_RULES if not path.endswith(".md") else (rule_unfinished,))
    return [(path, line, what) for rule in rules for line, what in rule(path, text)]


def tracked_files(root):
    """What git knows or would add; in an unpacked archive, everything but build/."""
    try:
        done = subprocess.run(["git", "-C", str(root), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True,
                              check=True)
        names = done.stdout.split("\n")
    except (FileNotFoundError, subprocess.CalledProcessError):
        names = [str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()]
    return sorted(n for n in names if n and (root / n).is_file() and not n.startswith(("build/", ".git/"))
                  and "__pycache__" not in n)


def is_text(path):
    """Sources and scripts: not data that tests send or expect, byte by byte."""
    if path.startswith(("tests/wire/", "tests/fuzz/corpus/", "bench/templates/", "bench/results/", "docs/results/")):
        return False
    return Path(path).suffix in TEXT_SUFFIXES


def check_tree(root, cc):
    files = tracked_files(root)
    sources = [f for f in files if f.startswith(tuple(s + "/" for s in SOURCE_FOLDERS)) and f.endswith((".c", ".h"))]
    findings = []
    for path in filter(is_text, files):
        findings += check_file(path, (root / path).read_text(encoding="utf-8"))
    findings += tree_tests_exist(root, sources)
    findings += tree_headers_alone(root, sources, cc)
    return findings, len(files)


def main(argv):
    if len(argv) < 2:
        sys.exit(__doc__)
    root = Path(argv[1]).resolve()
    findings, count = check_tree(root, argv[2:] or ["cc"])
    for path, line, what in findings:
        print(f"{path}:{line}: {what}")
    print(f"{count} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
