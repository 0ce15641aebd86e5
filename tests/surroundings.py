"""Unfriendly surroundings for a process under test: functions for subprocess's preexec_fn, which run in the child.

    subprocess.run(command, preexec_fn=both(files(64), refuse_uring(errno.EPERM)))
"""
import ctypes
import errno
import os
import resource
import shutil
import struct
import subprocess
from pathlib import Path

IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER = 425, 426, 427  # the same on every architecture

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
RET_KILL_PROCESS, RET_ERRNO, RET_ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
NOBODY = 65534


def filter_program(calls, action):
    """BPF: load the number of the system call, compare it with each of `calls`, `action` when it is one. seccomp(2)."""
    load, jump_equal, give_back = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 0)]
    for i, call in enumerate(calls):
        code.append((jump_equal, len(calls) - i, 0, call))
    code += [(give_back, 0, 0, RET_ALLOW), (give_back, 0, 0, action)]
    return b"".join(struct.pack("HBBI", *step) for step in code), len(code)


def install_filter(calls, action):
    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    text, count = filter_program(calls, action)
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(text, len(text))

    def install():
        program = Program(count, ctypes.addressof(buffer))
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            os._exit(124)
        if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
            os._exit(125)
    return install


def refuse_calls(calls, error=errno.EPERM):
    """A seccomp filter by which these system calls fail."""
    return install_filter(list(calls), RET_ERRNO | error)


def refuse_uring(error=errno.EPERM):
    """What a container's default profile does."""
    return refuse_calls([IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER], error)


def kill_uring():
    """A filter that ends who tries."""
    return install_filter([IO_URING_SETUP], RET_KILL_PROCESS)


def files(limit):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def nobody(locked_bytes):
    """An ordinary user with so much locked memory; needs root."""
    def become():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (locked_bytes, locked_bytes))
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    return become


def inside(folder):
    """A root of its own, without /proc; needs root."""
    def enter():
        os.chroot(folder)
        os.chdir("/")
    return enter


def both(*steps):
    def run():
        for step in steps:
            step()
    return run


def is_root():
    return os.geteuid() == 0


def libraries(program):
    """The shared libraries that the loader would take, the loader itself among them."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [word for word in text.split() if word.startswith("/")]


def sanitized(program):
    return any("san.so" in name for name in libraries(program))


def copy_program(program, folder, with_libraries=False):
    """A copy that every user can reach and run; the path of it."""
    os.chmod(folder, 0o755)
    target = shutil.copy(program, folder)
    os.chmod(target, 0o755)
    for library in libraries(program):
        if not library.startswith(("/lib", "/usr/lib")):
            shutil.copy(library, folder)
    for library in libraries(program) if with_libraries else ():
        place = Path(folder) / library.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)
    return target
