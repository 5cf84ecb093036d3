"""Calls functions of kernels.so as job.json says and writes what lies in memory afterwards into result.bin.

Runs in the sandbox, by path, with the standard library alone: nothing of nncore is in there with code that is not trusted, no
expected value and no bound. Each call is made in a child process, and a child makes calls until one of them ends it; the next
child goes on behind that. Whoever reads result.bin believes nothing in it but bytes at known places.

result.bin: for each call 16 bytes (status, signal, seconds), then for each buffer 64 bytes, its content, 64 bytes.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import struct
import sys
import time

PAGE, EDGE, HEAD = mmap.PAGESIZE, 64, struct.Struct("<iid")
CANARY = b"\xa5" * EDGE
NOT_RUN, DONE, SIGNAL, TIMEOUT, ENDED = range(5)
MOST_FAILURES = {SIGNAL: 12, TIMEOUT: 2, ENDED: 12}  # then the rest is not tried
ROUND = 0.02  # seconds of a timed round

libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Block:
    """Memory of a buffer: between two canaries, `shift` bytes off a multiple of 64, or against a page without any access."""

    def __init__(self, content: bytes, guard: str, shift: int):
        self.nbytes = len(content)
        pages = -(-(self.nbytes + 2 * EDGE + shift) // PAGE) + 2
        self.map = mmap.mmap(-1, pages * PAGE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        last = base + (pages - 1) * PAGE
        self.at = {"": base + PAGE + EDGE + shift, "front": base + PAGE, "back": last - self.nbytes}[guard]
        self.edges = not guard
        if self.edges:
            ctypes.memmove(self.at - EDGE, CANARY + content + CANARY, self.nbytes + 2 * EDGE)
        else:
            ctypes.memmove(self.at, content, self.nbytes)
            libc.mprotect(base if guard == "front" else last, PAGE, 0)

    def read(self) -> bytes:
        """The content between its edges."""
        if self.edges:
            return ctypes.string_at(self.at - EDGE, self.nbytes + 2 * EDGE)
        return CANARY + ctypes.string_at(self.at, self.nbytes) + CANARY


def pointers(call: dict, data: bytes) -> tuple[list[Block | None], ctypes.Array]:
    """The buffers of a call and the array of their addresses."""
    blocks = [None if a is None else Block(data[a[0] : a[0] + a[1]], call["guard"], call["shift"]) for a in call["args"]]
    if call["alias"]:
        blocks[call["alias"][0]] = blocks[call["alias"][1]]
    return blocks, (ctypes.c_void_p * max(len(blocks), 1))(*(b.at if b else None for b in blocks))


def run(job: dict, data: bytes, result: mmap.mmap, progress: mmap.mmap, start: int) -> None:
    """Make the calls from `start` on."""
    kernels, doors = (ctypes.CDLL(f"./{name}.so") for name in ("kernels", "door"))
    function = ctypes.cast(getattr(kernels, job["name"]), ctypes.c_void_p)
    door = getattr(doors, f"door_{job['name']}")
    door.argtypes = (ctypes.c_void_p,) * 4 + (ctypes.c_int64,)
    door.restype = None
    for k, call in enumerate(job["calls"][start:], start):
        blocks, addresses = pointers(call, data)
        sizes = (ctypes.c_int64 * max(len(call["sizes"]), 1))(*call["sizes"])
        scalars = (ctypes.c_double * max(len(call["scalars"]), 1))(*call["scalars"])
        progress[:8] = struct.pack("<q", k)
        seconds = 0.0
        if job["timed"]:
            seconds = clock(lambda n, a=addresses, s=sizes, c=scalars: door(function, a, s, c, n))
        else:
            door(function, addresses, sizes, scalars, 1)
        at = call["result"] + HEAD.size
        for i, block in enumerate([] if job["timed"] else blocks):
            if block:
                size = call["args"][i][1] + 2 * EDGE
                if not call["alias"] or i != call["alias"][0]:
                    result[at : at + size] = block.read()
                at += size
        result[call["result"] : call["result"] + HEAD.size] = HEAD.pack(DONE, 0, seconds)
    progress[:8] = struct.pack("<q", len(job["calls"]))


def clock(work) -> float:
    """Seconds of one call: the shortest of three rounds of as many as take ROUND."""
    n, best = 1, 0.0
    while True:
        begin = time.perf_counter()
        work(n)
        best = time.perf_counter() - begin
        if best >= ROUND or n > 1 << 24:
            break
        n *= max(2, min(16, int(ROUND / max(best, 1e-9))))
    rounds = [best]
    for _ in range(2):
        begin = time.perf_counter()
        work(n)
        rounds.append(time.perf_counter() - begin)
    return min(rounds) / n


def follow(pid: int, progress: mmap.mmap, patience: float) -> tuple[int, int]:
    """(status, signal) of a child that has ended, or was ended because one call took too long."""
    last, since = None, time.monotonic()
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return (SIGNAL, os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (ENDED, 0)
        now = progress[:8]
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > patience:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return TIMEOUT, 0
        time.sleep(0.002)


def main() -> None:
    """All calls of the job, with as many children as it takes."""
    with open("job.json", encoding="utf-8") as file:
        job = json.load(file)
    with open("data.bin", "rb") as file:
        data = file.read()
    with open("result.bin", "wb+") as file:
        file.truncate(job["nbytes"])
        result = mmap.mmap(file.fileno(), job["nbytes"])
    progress = mmap.mmap(-1, PAGE)
    start, failures = 0, dict.fromkeys(MOST_FAILURES, 0)
    while start < len(job["calls"]) and all(n < MOST_FAILURES[k] for k, n in failures.items()):
        progress[:8] = struct.pack("<q", start)
        pid = os.fork()
        if not pid:
            try:
                run(job, data, result, progress, start)
            finally:
                os._exit(0)
        status, number = follow(pid, progress, job["patience"])
        (at,) = struct.unpack("<q", progress[:8])
        if not 0 <= at < len(job["calls"]):
            break
        at = max(at, start)
        place = job["calls"][at]["result"]
        result[place : place + HEAD.size] = HEAD.pack(status, number, 0.0)
        failures[status] += 1
        start = at + 1


def names() -> None:
    """Those of the known kernels that kernels.so has, a line each, into names.txt; why it cannot be loaded, into error.txt."""
    with open("job.json", encoding="utf-8") as file:
        known = json.load(file)["known"]
    try:
        kernels = ctypes.CDLL("./kernels.so", mode=os.RTLD_NOW)
        found = [name for name in known if hasattr(kernels, name)]
    except OSError as e:
        with open("error.txt", "w", encoding="utf-8") as file:
            file.write(str(e))
        return
    with open("names.txt", "w", encoding="utf-8") as file:
        file.write("".join(f"{name}\n" for name in found))


if __name__ == "__main__":
    names() if sys.argv[1:] == ["names"] else main()
