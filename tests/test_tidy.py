#!/usr/bin/env python3
"""Each rule of tidy.py, symbols.py and results.py meets what it is there to find, and what it must leave alone."""
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]
import results  # noqa: E402
import symbols  # noqa: E402
import tidy  # noqa: E402

LONG_BODY = "    int y = 0;\n" * 69
SIGNATURE = "static int f(int a,\n             int b) {\n"

# what it is, path, text, a part of the finding
BAD = (
    ("http includes ring", "src/http/x.c", '#include "ring/ring.h"\n', "http does not depend on ring"),
    ("ring includes http", "src/ring/x.c", '#include "http/http.h"\n', "ring does not depend on http"),
    ("mem includes ring", "src/mem/x.h", '#include "ring/ring.h"\n', "mem does not depend on ring"),
    ("ring includes server", "src/ring/x.c", '#  include "server/worker.h"\n', "does not depend on server"),
    ("relative include", "src/mem/x.c", '#include "span.h"\n', "written from src/"),
    ("include with dots", "src/mem/x.c", '#include "../mem/span.h"\n', "written from src/"),
    ("private header elsewhere", "src/server/x.c", '#include "ring/ring_priv.h"\n', "stays inside"),
    ("private header in a bench", "bench/x.c", '#include "ring/ring_priv.h"\n', "stays inside"),
    ("public header below the server", "src/http/x.c", '#include "ringmain.h"\n', "ringmain.h is"),
    ("example looks inside", "examples/x.c", '#include "mem/span.h"\n', "public header only"),
    ("liburing elsewhere", "src/server/x.c", "#include <liburing.h>\n", "belongs to src/ring/uring"),
    ("io_uring type in ring.h", "src/ring/ring.h", "struct io_uring ring;\n", "belongs to src/ring/uring"),
    ("uring constant in epoll.c", "src/ring/epoll.c", "int f = IORING_CQE_F_MORE;\n", "belongs to src/ring/uring"),
    ("call name outside ring", "src/server/x.c", "epoll_ctl(1, 2, 3, 0);\n", "belongs to src/ring/epoll"),
    ("epoll header elsewhere", "src/ring/helpers.c", "#include <sys/epoll.h>\n", "belongs to src/ring/epoll"),
    ("backend switch", "src/server/x.c", "#if RM_EPOLL\n#endif\n", "ring.c only"),
    ("backend switch with defined", "src/ring/epoll.c", "#ifdef RM_URING\n#endif\n", "ring.c only"),
    ("strcpy", "src/mem/x.c", "void f(void) {\n    strcpy(a, b);\n}\n", "strcpy"),
    ("sprintf", "bench/x.c", "void f(void) {\n    sprintf (a, b);\n}\n", "sprintf"),
    ("alloca in a test", "tests/test_x.c", "void f(void) {\n    x = alloca(9);\n}\n", "alloca"),
    ("malloc in a protocol", "src/http/x.c", "void f(void) {\n    p = malloc(1);\n}\n", "malloc: a protocol"),
    ("clock in a protocol", "src/http/x.c", "int t = clock_gettime(0, &t);\n", "clock_gettime: a protocol"),
    ("long function", "src/mem/x.c", SIGNATURE + LONG_BODY + "}\n", "a function of 72 lines"),
    ("long function with brace below", "src/mem/x.c", "int f(void)\n{\n" + LONG_BODY + "}\n", "a function of 72 lines"),
    ("long file", "src/mem/x.c", "int x;\n" * 601, "601 lines"),
    ("long line", "src/mem/x.c", "/* " + "y" * 130 + " */\n", "136 characters"),
    ("typedef of a struct", "src/mem/x.h", "typedef struct x {\n    int y;\n} x_t;\n", "function types only"),
    ("typedef of an integer", "src/mem/x.h", "typedef unsigned x_t;\n", "function types only"),
    ("tab", "src/mem/x.c", "\tint x;\n", "a tab"),
    ("blank at the end", "scripts/x.sh", "echo \n", "blanks at the end"),
    ("no newline", "scripts/x.py", "pass", "no newline"),
    ("unfinished", "src/mem/x.c", "/* TO" + "DO: all of it */\n", "unfinished"),
    ("unfinished text", "README.md", "FIX" + "ME later\n", "unfinished"),
)

GOOD = (
    ("arrows", "src/server/x.c", '#include "ring/ring.h"\n#include "http/http.h"\n#include "ringmain.h"\n'),
    ("own private header", "src/ring/x.c", '#include "ring/ring_priv.h"\n#include "mem/span.h"\n'),
    ("private header in a test", "tests/test_x.c", '#include "ring/ring_priv.h"\n'),
    ("local header of an example", "examples/x.c", '#include <ringmain.h>\n#include "items.h"\n'),
    ("liburing at home", "src/ring/uring_probe.c", "#include <liburing.h>\nstruct io_uring r;\n"),
    ("names of calls", "src/ring/ring.h", "#define CALLS(X) X(io_uring_enter) X(epoll_wait)\n"),
    ("words in comments and strings", "src/http/x.c", '/* malloc(1), epoll_ctl */ const char *s = "strcpy(io_uring)";\n'),
    ("longer names", "src/http/x.c", "void f(void) {\n    http_time(x);\n    x->read(y);\n    pool_free(z);\n}\n"),
    ("function of 70 lines", "src/mem/x.c", "int f(void) {\n" + "    int y = 0;\n" * 68 + "}\n"),
    ("long table", "src/mem/x.c", "static const int t[] = {\n" + "    1,\n" * 90 + "};\n"),
    ("long struct", "src/mem/x.h", "struct x {\n" + "    int y;\n" * 90 + "};\n"),
    ("function type", "src/mem/x.h", "typedef int fn(int x);\n"),
    ("sprintf in a test", "tests/test_x.c", "void f(void) {\n    sprintf(a, b);\n}\n"),
    ("temporary name", "tests/test_x.c", 'char name[] = "/tmp/xXXXXXX";\n'),
)


class Rules(unittest.TestCase):
    def test_findings(self):
        for what, path, text, expected in BAD:
            with self.subTest(what):
                found = tidy.check_file(path, text)
                self.assertEqual(len(found), 1, found)
                self.assertIn(expected, found[0][2])

    def test_silence(self):
        for what, path, text in GOOD:
            with self.subTest(what):
                self.assertEqual(tidy.check_file(path, text), [])

    def test_every_rule_has_a_bad_snippet(self):
        for rule in tidy.C_RULES + tidy.TEXT_RULES:
            with self.subTest(rule.__name__):
                self.assertTrue(any(list(rule(path, text)) for _, path, text, _ in BAD))

    def test_line_numbers(self):
        text = "/* one\n two */\nvoid f(void) {\n    strcpy(a, b);\n}\n"
        self.assertEqual(tidy.check_file("src/mem/x.c", text)[0][1], 4)


class Tree(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def test_source_without_test(self):
        self.write("src/mem/lonely.c", "int lonely;\n")
        self.write("src/mem/loved.c", "int loved;\n")
        self.write("tests/test_loved.c", "int main(void) { return 0; }\n")
        found, _ = tidy.check_tree(self.root, ["cc"])
        self.assertEqual([f[0] for f in found if "is missing" in f[2]], ["src/mem/lonely.c"])

    def test_header_that_needs_another(self):
        self.write("src/mem/needy.h", "uint32_t needy(void);\n")
        self.write("src/mem/twice.h", "static inline int twice(void) {\n    return 2;\n}\n")
        self.write("src/mem/whole.h", "#pragma once\n#include <stdint.h>\nuint32_t whole(void);\n")
        found, _ = tidy.check_tree(self.root, ["cc"])
        self.assertEqual([f[0] for f in found if "alone" in f[2]], ["src/mem/needy.h", "src/mem/twice.h"])


NM_HTTP = """
parse.c.o:
0000000000000000 T http_parse
                 U memcpy
                 U pool_take
                 w maybe_later
0000000000000010 t helper

router.c.o:
                 U http_parse
                 U malloc
                 U ring_wait
0000000000000000 D http_table
"""


class Symbols(unittest.TestCase):
    def test_parse(self):
        defined, undefined = symbols.parse_nm(NM_HTTP)
        self.assertEqual(defined, {"http_parse", "http_table"})
        self.assertEqual(undefined, {"memcpy", "pool_take", "malloc", "ring_wait"})

    def test_findings(self):
        tables = {"http": symbols.parse_nm(NM_HTTP), "mem": ({"pool_take"}, {"mmap"}), "ring": ({"ring_wait"}, {"pool_take"})}
        found = list(symbols.findings(tables))
        self.assertEqual(len(found), 2, found)
        self.assertIn("malloc", found[0])
        self.assertIn("ring_wait of libring", found[1])

    def test_strdup_is_malloc(self):
        self.assertTrue(list(symbols.findings({"http": (set(), {"strdup"})})))
        self.assertTrue(list(symbols.findings({"pg": (set(), {"snprintf"})})))
        self.assertFalse(list(symbols.findings({"http": (set(), {"strlen", "__memcpy_chk"})})))
        self.assertFalse(list(symbols.findings({"pgcrypto": (set(), {"EVP_Digest", "memcpy", "pthread_mutex_lock"})})))
        self.assertTrue(list(symbols.findings({"pg": (set(), {"EVP_Digest"})})))
        self.assertTrue(list(symbols.findings({"pgcrypto": (set(), {"socket"})})))
        self.assertTrue(list(symbols.findings({"pgcrypto": (set(), {"malloc"})})))


CMOCKA = """[==========] Running 3 test(s).
[ RUN      ] a
[       OK ] a
[ RUN      ] b
[  FAILED  ] b
[  SKIPPED ] c
[==========] 3 test(s) run.
[  PASSED  ] 1 test(s).
[  SKIPPED ] 1 test(s), listed below:
[  SKIPPED ] c

 1 SKIPPED TEST(S)
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] b

 1 FAILED TEST(S)
"""
CMOCKA_GOOD = "[==========] Running 2 test(s).\n[==========] 2 test(s) run.\n[  PASSED  ] 2 test(s).\n"


class Results(unittest.TestCase):
    def count(self, stdout, result="OK", code=0):
        return results.count_test({"name": "x", "stdout": stdout, "result": result, "returncode": code})

    def test_cmocka(self):
        self.assertEqual(self.count(CMOCKA, "FAIL", 1), (1, 1, 1))
        self.assertEqual(self.count(CMOCKA_GOOD + CMOCKA_GOOD), (4, 0, 0))
        named = CMOCKA.replace("] 1 test(s), listed", "] group of tests: 1 test(s), listed").replace("] 3", "] group of tests: 3")
        self.assertEqual(self.count(named, "FAIL", 1), (1, 1, 1))

    def test_bad_end_after_good_cases(self):
        self.assertEqual(self.count(CMOCKA_GOOD, "FAIL", 1), (2, 1, 0))
        self.assertEqual(self.count("[==========] Running 9 test(s).\n", "TIMEOUT", -9), (0, 1, 0))

    def test_unittest(self):
        self.assertEqual(self.count("Ran 5 tests in 0.1s\n\nOK\n"), (5, 0, 0))
        self.assertEqual(self.count("Ran 5 tests in 0.1s\n\nOK (skipped=2)\n"), (3, 0, 2))
        self.assertEqual(self.count("Ran 5 tests in 0.1s\n\nFAILED (failures=1, errors=1)\n", "FAIL", 1), (3, 2, 0))

    def test_tap(self):
        self.assertEqual(self.count("1..3\nok 1 - a\nnot ok 2 - b\nok 3 - c # SKIP no such thing\n", "FAIL", 1), (1, 1, 1))

    def test_program_without_cases(self):
        self.assertEqual(self.count("fine"), (1, 0, 0))
        self.assertEqual(self.count("", "FAIL", 1), (0, 1, 0))
        self.assertEqual(self.count("not here", "SKIP", 77), (0, 0, 1))

    def test_own_closing_line(self):
        self.assertEqual(self.count("[  SKIPPED ] a: b\n6 passed, 0 failed, 1 skipped\n"), (6, 0, 1))
        self.assertEqual(self.count("2 passed, 1 failed\n", "FAIL", 1), (2, 1, 0))
        self.assertEqual(self.count("2 passed, 0 failed\n", "TIMEOUT", -15), (2, 1, 0))

    def skipped(self, stdout, code=0):
        return results.skipped_cases({"name": "x", "stdout": stdout, "returncode": code})

    def test_what_was_skipped(self):
        self.assertEqual(self.skipped("[       OK ] a\n[  SKIPPED ] b: no such thing\n"), ["b: no such thing"])
        self.assertEqual(self.skipped("working\nnot here\n", 77), ["not here"])
        self.assertEqual(self.skipped("", 77), ["no reason given"])
        self.assertEqual(self.skipped("[  SKIPPED ] b\n[  SKIPPED ] 1 test(s), listed below:\n[  SKIPPED ] b\n"), ["b"])
        many = self.skipped("".join(f"[  SKIPPED ] {n}\n" for n in range(9)))
        self.assertEqual((len(many), many[-1]), (4, "and 6 more, in the log"))


if __name__ == "__main__":
    unittest.main()
