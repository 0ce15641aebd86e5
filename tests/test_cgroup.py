#!/usr/bin/env python3
"""What cgroup.py makes of what the kernel says; the kernel itself is not asked."""
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import cgroup  # noqa: E402

ROOT = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
V1 = "30 25 0:27 {root} /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n"
V1_OTHER = "31 25 0:28 / /sys/fs/cgroup/cpu rw,nosuid shared:10 master:3 - cgroup cgroup rw,cpu,cpuacct\n"
V2 = "32 25 0:29 {root} {place} rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
UNIFIED = "/sys/fs/cgroup"


def own(mountinfo, text):
    return [(version, str(place), str(folder)) for version, place, folder in cgroup.own(ROOT + mountinfo, text)]


class Own(unittest.TestCase):
    def test_version_2(self):
        scope = "/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope"
        self.assertEqual(own(V2.format(root="/", place=UNIFIED), f"0::{scope}\n"), [(2, UNIFIED, UNIFIED + scope)])

    def test_version_1(self):
        self.assertEqual(own(V1_OTHER + V1.format(root="/"), "4:cpu,cpuacct:/a\n3:memory:/b/c\n"),
                         [(1, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/b/c")])

    def test_version_1_with_others(self):
        """Several controllers in one hierarchy."""
        self.assertEqual(own(V1.format(root="/").replace("memory\n", "cpu,memory\n"), "3:cpu,memory:/b\n"),
                         [(1, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/b")])

    def test_both(self):
        """Version 1 has memory then; version 2 is looked at behind it, and has none."""
        text = "3:memory:/b\n1:name=systemd:/\n0::/s\n"
        self.assertEqual([found[0] for found in own(V2.format(root="/", place=UNIFIED + "/unified") + V1.format(root="/"), text)], [1, 2])

    def test_container(self):
        """What is mounted begins with the container's own one; and with a namespace its path is the root."""
        self.assertEqual(own(V1.format(root="/docker/17"), "3:memory:/docker/17\n"), [(1, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory")])
        self.assertEqual(own(V1.format(root="/docker/17"), "3:memory:/docker/17/x\n")[0][2], "/sys/fs/cgroup/memory/x")
        self.assertEqual(own(V2.format(root="/", place=UNIFIED), "0::/\n"), [(2, UNIFIED, UNIFIED)])

    def test_outside_of_what_is_mounted(self):
        """proc_pid_cgroup(5): "/../other" in a namespace that we are not in."""
        self.assertEqual(own(V2.format(root="/", place=UNIFIED), "0::/../other\n"), [(2, UNIFIED, UNIFIED)])
        self.assertEqual(own(V1.format(root="/docker/17"), "3:memory:/else\n")[0][2], "/sys/fs/cgroup/memory")

    def test_blanks(self):
        self.assertEqual(own(V2.format(root="/", place="/a\\040b"), "0::/c d:e\n"), [(2, "/a b", "/a b/c d:e")])

    def test_none(self):
        self.assertEqual(own(V1_OTHER, "4:cpu,cpuacct:/\n"), [])
        self.assertEqual(own("", "0::/\n"), [])


class Below(unittest.TestCase):
    def test_parents(self):
        place = Path(UNIFIED)
        self.assertEqual(cgroup.parents(2, place, place / "a/b"), [place / "a/b", place / "a"])
        self.assertEqual(cgroup.parents(2, place, place), [place])  # nothing is above what is mounted
        self.assertEqual(cgroup.parents(1, place, place / "a"), [place / "a"])

    def test_refusal(self):
        with tempfile.TemporaryDirectory() as name:
            control = Path(name, "cgroup.subtree_control")
            for text, refused in (("cpu memory pids\n", False), ("memory\n", False), ("cpu pids\n", True), ("\n", True), ("memory2\n", True)):
                control.write_text(text, encoding="ascii")
                self.assertEqual(cgroup.refusal(2, Path(name)) is not None, refused, text)
            self.assertIn("cgroup.subtree_control", cgroup.refusal(2, Path(name)))
            control.unlink()
            self.assertIsNone(cgroup.refusal(1, Path(name)))
            self.assertRaises(OSError, cgroup.refusal, 2, Path(name))

    def test_limits(self):
        self.assertEqual(cgroup.limits(2, 5), [("memory.max", "5", True), ("memory.swap.max", "0", False)])
        self.assertEqual(cgroup.limits(1, 5)[0], ("memory.limit_in_bytes", "5", True))

    def test_kills(self):
        self.assertEqual(cgroup.kills("low 0\nhigh 0\nmax 17\noom 3\noom_kill 2\noom_group_kill 1\n"), 2)
        self.assertEqual(cgroup.kills("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), 1)
        self.assertEqual(cgroup.kills("oom_kill_disable 0\nunder_oom 0\n"), 0)  # before 4.13


if __name__ == "__main__":
    unittest.main()
