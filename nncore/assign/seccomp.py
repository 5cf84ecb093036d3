"""A filter of system calls for the box, as the kernel takes it: classic BPF over `struct seccomp_data` (seccomp(2)).

Shut: new namespaces, mounts, tracing, keys, io_uring, bpf, perf, handles, typing into a terminal, sockets other than Unix
and internet ones, calls of a foreign architecture. Together they are most of what kernel exploits and covert channels need
and no neural network does. clone3, whose flags a filter cannot see, says ENOSYS, upon which libraries take clone.

Without effect, though it says it did it: setpriority. Hand-outs ask for `nice -n 19`, which is right on a machine that
many use; here it would give a project next to nothing while one without it is graded beside it.
"""

from __future__ import annotations

import platform
import struct

_EPERM, _ENOSYS, _NO_FAMILY = 1, 38, 97
_KILL, _ERRNO, _ALLOW = 0x8000_0000, 0x0005_0000, 0x7FFF_0000
_LOAD, _EQUAL, _ABOVE, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF_LD|W|ABS, JMP|JEQ|K, JGE, JSET, RET
_NR, _ARCH, _ARG0, _ARG1, _ARG2 = 0, 4, 16, 24, 32  # low words of the arguments: little-endian
_NEW_NAMESPACES = 0x7E02_0000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6
_SHARED = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
           "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438, "mount_setattr": 442}
_TABLES = {
    "x86_64": (0xC000_003E, {"clone": 56, "clone3": 435, "ioctl": 16, "socket": 41, "setpriority": 141}, {
        "ptrace": 101, "pivot_root": 155, "mount": 165, "umount2": 166, "add_key": 248, "request_key": 249, "keyctl": 250,
        "unshare": 272, "perf_event_open": 298, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308,
        "process_vm_readv": 310, "process_vm_writev": 311, "bpf": 321, "userfaultfd": 323}),
    "aarch64": (0xC000_00B7, {"clone": 220, "clone3": 435, "ioctl": 29, "socket": 198, "setpriority": 140}, {
        "umount2": 39, "mount": 40, "pivot_root": 41, "unshare": 97, "ptrace": 117, "add_key": 217, "request_key": 218,
        "keyctl": 219, "perf_event_open": 241, "name_to_handle_at": 264, "open_by_handle_at": 265, "setns": 268,
        "process_vm_readv": 270, "process_vm_writev": 271, "bpf": 280, "userfaultfd": 282}),
}


def program(machine: str | None = None) -> bytes | None:
    """The filter for this architecture, None where we know none."""
    machine = machine or platform.machine()
    if machine not in _TABLES:
        return None
    arch, special, shut = _TABLES[machine]
    code = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NR)]
    if machine == "x86_64":  # the x32 calls share the architecture's number
        code += [(_ABOVE, 0, 1, 0x4000_0000), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    for number in sorted({**shut, **_SHARED}.values()):
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    code += [(_EQUAL, 0, 1, special["clone3"]), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    code += [(_EQUAL, 0, 4, special["clone"]), (_LOAD, 0, 0, _ARG0), (_ANY_BIT, 0, 1, _NEW_NAMESPACES),
             (_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW)]
    code += [(_EQUAL, 0, 5, special["ioctl"]), (_LOAD, 0, 0, _ARG1), (_EQUAL, 1, 0, _TIOCSTI), (_EQUAL, 0, 1, _TIOCLINUX),
             (_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW)]
    code += [(_EQUAL, 0, 4, special["setpriority"]), (_LOAD, 0, 0, _ARG2), (_ABOVE, 0, 1, 0x8000_0000),  # a negative one
             (_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ERRNO)]
    families = [(_EQUAL, len(_FAMILIES) - i, 0, f) for i, f in enumerate(_FAMILIES)]
    code += [(_EQUAL, 0, len(families) + 2, special["socket"]), (_LOAD, 0, 0, _ARG0), *families,
             (_RETURN, 0, 0, _ERRNO | _NO_FAMILY), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("<HBBI", *line) for line in code)
