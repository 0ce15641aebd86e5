#!/usr/bin/env python3
"""The shell scripts, in a tree of their own with stand-ins for apt, dpkg, pkg-config and sudo: nothing is installed or fetched.

The stand-ins write their arguments to a log; what they know comes from files beside it."""
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PACKAGES = """
core     cmd:present-tool   present
core     cmd:missing-tool   missing-old|missing-new
core     pc:newlib>=2.9     newlib-dev>=2.9|+deps
extra    cmd:missing-tool   ?unpack:daemon
extra    cmd:other-tool     ?optional
broken   cmd:missing-tool   nowhere
quiet    cmd:missing-tool   nocluster:daemon
"""

STAND_INS = {
    "apt-cache": 'echo "$2:"; echo "  Candidate: $(sed -n "s/^$2 //p" "$FAKES/candidates" | grep . || echo "(none)")"',
    "apt-get": 'echo "apt-get $*" >> "$FAKES/log"; for a in "$@"; do p=$c; c=$a; [ "$p" != -c ] || cp "$a" "$FAKES/conf"; done\n'
               'd=; for a; do [ -z "$d" ] || touch "${a}_2.9_amd64.deb"; [ "$a" != download ] || d=1; done\n'
               '[ -z "$d" ] || [ ! -f "$FAKES/offline" ]',
    "dpkg": 'case $1 in --print-architecture) echo amd64;; *) [ "$(printf "%s\\n%s\\n" "$2" "$4" | sort -V | head -n 1)" = "$4" ];; esac',
    # What the package of liburing or of yyjson holds; libyyjson0 is the shared library alone.
    "dpkg-deb": 'n=$(basename "$2" | sed "s/_.*//"); l=liburing; [ "$n" = liburing-dev ] || l=yyjson; u=$3/usr; mkdir -p "$u/lib/x"\n'
                'touch "$u/lib/x/$l.so"; [ "$n" != libyyjson0 ] || exit 0; mkdir -p "$u/lib/x/pkgconfig" "$u/include"\n'
                'printf "prefix=/usr\\nincludedir=/usr/include\\nlibdir=/usr/lib/x\\n" > "$u/lib/x/pkgconfig/$l.pc"\n'
                '[ $l = liburing ] || exit 0; mkdir -p "$u/include/liburing"; touch "$u/lib/x/liburing.a"\n'
                'printf "#include <linux/blkdev.h>\\n" > "$u/include/liburing/compat.h"',
    # Found only in a folder that dpkg-deb's stand-in made, or when a file says that the system has it.
    "pkg-config": 'for n; do :; done; n=${n%%>*}; [ ! -f "$FAKES/has-$n" ] || exit 0\n'
                  '[ -n "$PKG_CONFIG_PATH" ] && [ -f "${PKG_CONFIG_PATH%%:*}/$n.pc" ]',
    "sudo": 'echo "sudo $*" >> "$FAKES/log"; exit 1',
    "present-tool": ":",
}

SOURCES = """\
Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/some.gpg

Types: deb
URIs: http://disabled.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb
URIs: http://other.example/debian
Suites: elsewhere
Components: main
"""

LIST = """\
# deb http://comment.example bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://options.example/debian bookworm main contrib
deb-src http://source.example/debian bookworm main
deb http://security.example/debian bookworm-security main
deb http://nomain.example/debian bookworm contrib
"""


class Scripts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = Path(folder.name) / "tree"
        self.fakes = Path(folder.name) / "fakes"
        self.etc = Path(folder.name) / "etc"
        shutil.copytree(ROOT / "scripts", self.tree / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("run", "check"):
            shutil.copy(ROOT / name, self.tree / name)
        (self.fakes / "bin").mkdir(parents=True)
        for name, body in STAND_INS.items():
            self.stand_in(name, body)
        (self.fakes / "log").write_text("")
        (self.fakes / "candidates").write_text("missing-new 1.0\nnewlib-dev 2.3\noptional 1.0\ndaemon 1.0\n")
        (self.tree / "scripts/packages").write_text(PACKAGES)
        self.environment = {"PATH": f"{self.fakes}/bin:{os.environ['PATH']}", "FAKES": str(self.fakes), "CI": "true"}

    def stand_in(self, name, body):
        path = self.fakes / "bin" / name
        path.write_text("#!/bin/sh\n" + body + "\n")
        path.chmod(0o755)

    def sh(self, *command, **variables):
        return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                              env={**self.environment, **variables}, cwd=self.tree)

    def lib(self, commands):
        return self.sh("sh", "-euc", f"here={self.tree}; . scripts/lib.sh\n{commands}")

    def log(self):
        return (self.fakes / "log").read_text()

    # ------------------------------------------------------------------------------------------------- words ----

    def test_unknown_word_names_the_nearest(self):
        done = self.sh("./run", "stup")
        self.assertEqual(done.returncode, 2)
        self.assertIn("did you mean 'setup'?", done.stderr)

    def test_unknown_word_far_from_all(self):
        done = self.sh("./run", "xyzzyxyzzy")
        self.assertEqual(done.returncode, 2)
        self.assertNotIn("did you mean", done.stderr)

    def test_unknown_argument_of_check(self):
        done = self.sh("./check", "--lonk")
        self.assertEqual(done.returncode, 2)
        self.assertIn("did you mean '--long'?", done.stderr)

    def test_help_needs_nothing(self):
        for name in ("./run", "./check"):
            with self.subTest(name):
                done = self.sh(name, "--help")
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertTrue(done.stdout.startswith("usage: " + name))
        self.assertEqual(self.log(), "")

    # ------------------------------------------------------------------------------------------------- ahead ----

    def test_what_is_built_ahead_is_ended_when_its_turn_comes(self):
        self.stand_in("meson", 'echo "setup" >> "$FAKES/log"; touch "$2/build.ninja"')
        self.stand_in("ninja", f'echo "$$ $(awk \'{{print $41}}\' /proc/$$/stat)" > "{self.fakes}/ninja.new"\n'
                               f'mv "{self.fakes}/ninja.new" "{self.fakes}/ninja"; exec sleep 100')
        (self.tree / "meson.build").write_text("")
        done = self.lib('build_this() { build "$here/build/this"; }; mkdir build; build_ahead broken this\n'
                        'while [ ! -f "$FAKES/ninja" ]; do sleep 0.02; done; stop_ahead; cat "$FAKES/ninja"')
        pid, policy = map(int, done.stdout.split())
        may = self.sh("sh", "-c", "chrt --idle 0 true").returncode == 0
        self.assertEqual((done.returncode, policy), (0, os.SCHED_IDLE if may else os.SCHED_OTHER), done.stderr)
        self.assertRaises(ProcessLookupError, os.kill, pid, 0)

    # ---------------------------------------------------------------------------------------------- packages ----

    def test_installs_only_what_is_missing(self):
        done = self.lib("may_be_root() { :; }; as_root() { \"$@\"; }; need core")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.log(), "apt-get -q -y --no-install-recommends install missing-new\n")

    def test_optional_that_apt_has_not(self):
        (self.fakes / "candidates").write_text("")
        done = self.lib("need extra")
        self.assertEqual((done.returncode, self.log()), (0, ""), done.stderr)

    def test_installs_nothing_twice(self):
        self.stand_in("missing-tool", ":")
        self.stand_in("other-tool", ":")
        done = self.lib("need extra; need broken")
        self.assertEqual((done.returncode, self.log()), (0, ""), done.stderr)

    def test_new_enough_library_is_installed(self):
        (self.fakes / "candidates").write_text("missing-old 1.0\nnewlib-dev 2.10-1\n")
        self.lib("may_be_root() { :; }; as_root() { \"$@\"; }; need core")
        self.assertEqual(self.log(), "apt-get -q -y --no-install-recommends install missing-old newlib-dev\n")

    def test_without_root_says_what_to_install(self):
        done = self.lib("id() { echo 1000; }; need core")
        self.assertEqual(done.returncode, 69)
        self.assertIn("please install, as root: apt-get install missing-new", done.stderr)

    def test_without_root_says_all_at_once(self):
        done = self.lib("id() { echo 1000; }; needs='extra quiet core'; need core")
        self.assertEqual(done.returncode, 69)
        self.assertIn("apt-get install missing-new optional daemon (this user can't", done.stderr)
        self.assertNotIn("apt-get", self.log())

    def test_without_root_and_without_lists(self):
        (self.fakes / "candidates").write_text("")
        done = self.lib("id() { echo 1000; }; need core")
        self.assertEqual(done.returncode, 69)
        self.assertIn("as root: apt-get update (they have nothing for: missing-old|missing-new)", done.stderr)
        self.assertNotIn("apt-get", self.log())

    def test_package_that_apt_has_not(self):
        done = self.lib("may_be_root() { :; }; as_root() { \"$@\"; }; need broken")
        self.assertEqual(done.returncode, 69)
        self.assertIn("no package for: nowhere", done.stderr)
        self.assertEqual(self.log(), "apt-get -q update\n")

    def test_optional_and_unpacked(self):
        done = self.lib("id() { echo 1000; }; need extra")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("going on without: optional", done.stderr)
        self.assertIn("apt-get -q download daemon", self.log())
        self.assertNotIn("install daemon", self.log())

    def test_unpacked_with_its_libraries(self):
        self.stand_in("apt-cache", '[ $1 = depends ] || { echo "  Candidate: 1.0"; exit; }\n'
                      'printf "%s\\n" "  PreDepends: libother" "  Depends: libc6" "  Depends: libabsent9" "  Depends: tool" '
                      '" |Depends: libeither" "  Suggests: libmore"')
        self.stand_in("dpkg-query", 'for n; do :; done; [ $n = libc6 ] && echo "install ok installed"')
        self.lib("id() { echo 1000; }; need extra")
        self.assertIn("apt-get -q download daemon libabsent9\n", self.log())

    def quietly(self, conf):
        """Installs the daemon; what the configuration said meanwhile."""
        self.stand_in("apt-get", f'cp "{conf}" "$FAKES/seen"; [ ! -f "$FAKES/offline" ]')
        done = self.lib(f"may_be_root() {{ :; }}; as_root() {{ \"$@\"; }}; cluster_conf={conf}; (need quiet) || echo failed >&2")
        self.assertEqual(done.returncode, 0, done.stderr)
        return (self.fakes / "seen").read_text(), done.stderr

    def test_no_cluster_of_the_systems_own(self):
        conf = self.etc / "postgresql-common/createcluster.conf"
        seen, _ = self.quietly(conf)
        self.assertEqual(seen, "create_main_cluster = false\n")
        self.assertNotIn("create_main_cluster = false", conf.read_text() if conf.exists() else "")

    def test_the_systems_configuration_is_put_back(self):
        conf = self.etc / "postgresql-common/createcluster.conf"
        conf.parent.mkdir(parents=True)
        conf.write_text("# mine\n")
        for offline in (False, True):
            if offline:
                (self.fakes / "offline").write_text("")
            seen, said = self.quietly(conf)
            self.assertEqual(seen, "# mine\ncreate_main_cluster = false\n")
            self.assertEqual(conf.read_text(), "# mine\n")
            self.assertEqual("please install, as root: apt-get install daemon" in said, offline)

    # -------------------------------------------------------------------------------------------------- deps ----

    def deps(self, **variables):
        (self.etc / "apt/sources.list.d").mkdir(parents=True, exist_ok=True)
        (self.etc / "apt/sources.list.d/debian.sources").write_text(SOURCES)
        (self.etc / "apt/sources.list.d/more.list").write_text(LIST)
        (self.etc / "os-release").write_text(variables.pop("release", "ID=debian\nVERSION_CODENAME=bookworm\n"))
        script = (ROOT / "scripts/deps").read_text().replace("/etc/apt/", f"{self.etc}/apt/")
        script = script.replace("/etc/os-release", f"{self.etc}/os-release").replace('    rm -rf "$apt"\n', "")
        (self.tree / "scripts/deps").write_text(script)
        return self.sh("sh", "scripts/deps", **variables)

    def sources(self):
        return "".join(p.read_text() for p in sorted((self.tree / "build/deps/apt/etc/sources.d").iterdir()))

    def test_deps_fetches_once(self):
        path = f"{self.tree}/build/deps/root/usr/lib/x/pkgconfig"
        for _ in range(2):
            done = self.deps()
            self.assertEqual((done.returncode, done.stdout.splitlines()[-1:]), (0, [path]), done.stderr)
        self.assertEqual(self.log().count("download liburing-dev libyyjson-dev libyyjson0\n"), 1)

    def test_deps_fetches_only_what_is_missing(self):
        (self.fakes / "has-liburing").write_text("")
        done = self.deps()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("download libyyjson-dev libyyjson0\n", self.log())
        self.assertTrue(done.stdout.endswith("/usr/lib/x/pkgconfig\n"), done.stdout)

    def test_deps_fetches_again_what_an_earlier_one_did_not(self):
        (self.fakes / "has-yyjson").write_text("")
        self.deps()
        (self.fakes / "has-yyjson").unlink()
        done = self.deps()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((self.tree / "build/deps/root/usr/lib/x/pkgconfig/yyjson.pc").exists())
        self.assertTrue((self.tree / "build/deps/root/usr/lib/x/pkgconfig/liburing.pc").exists())

    def test_deps_fetches_nothing_that_is_there(self):
        for name in ("liburing", "yyjson"):
            (self.fakes / f"has-{name}").write_text("")
        done = self.deps(PKG_CONFIG_PATH="/given")
        self.assertEqual((done.returncode, done.stdout, self.log()), (0, "/given\n", ""), done.stderr)

    def test_deps_keeps_the_given_path(self):
        done = self.deps(PKG_CONFIG_PATH="/given")
        self.assertTrue(done.stdout.endswith("/usr/lib/x/pkgconfig:/given\n"), done.stdout)

    def test_deps_derives_its_sources(self):
        self.deps()
        self.assertEqual(self.sources(),
                         "URIs: http://mirror.example/debian\nSigned-By: /usr/share/keyrings/some.gpg\n"
                         "Types: deb\nSuites: trixie\nComponents: main\n\n"
                         "deb [arch=amd64 signed-by=/k.gpg] http://options.example/debian trixie main\n")

    def test_deps_touches_no_system_folder(self):
        self.deps()
        conf = (self.fakes / "conf").read_text()
        for line in conf.splitlines():
            if line.startswith("Dir::"):
                value = line.split('"')[1]
                self.assertTrue(value in ("", "/dev/null") or value.startswith(f"{self.tree}/build/deps/apt/"), line)
        for key in ("Dir::State", "Dir::Cache", "Dir::Etc::SourceList", "Dir::Etc::SourceParts", "Dir::Etc::Preferences"):
            self.assertIn(key + " ", conf)

    def test_deps_unpacks_what_can_be_moved_and_linked_statically(self):
        self.deps()
        root = self.tree / "build/deps/root/usr"
        self.assertEqual((root / "lib/x/pkgconfig/liburing.pc").read_text(),
                         "prefix=${pcfiledir}/../../..\nincludedir=${prefix}/include\nlibdir=${prefix}/lib/x\n")
        self.assertEqual(sorted(p.name for p in (root / "lib/x").glob("liburing*")), ["liburing.a"])
        self.assertEqual([p.name for p in (root / "lib/x").glob("yyjson.so")], ["yyjson.so"])
        self.assertIn("__has_include(<linux/blkdev.h>)", (root / "include/liburing/compat.h").read_text())

    def test_deps_offline(self):
        (self.fakes / "offline").write_text("")
        done = self.deps()
        self.assertEqual((done.returncode, done.stdout), (69, ""))
        self.assertIn("liburing-dev", done.stderr)

    def test_deps_on_another_system(self):
        done = self.deps(release="ID=other\n")
        self.assertEqual(done.returncode, 69)
        self.assertIn("this system (other)", done.stderr)
        self.assertEqual(self.log(), "")


if __name__ == "__main__":
    unittest.main()
