"""The peer's side of a duel: one JSON object a line on stdin, one on stdout for each; see nncore/bench/peer.py.

    python serve.py torch THREADS [CPU...]

{"do": "hello"}                          -> package, versions, threads, cpus
{"do": "load", "file", "op", "dims", "scalars", "run", "math", "args"}
                                         -> {"ways": [names]}, or {"skip": why} for an op this package has none of
{"do": "predict", "widths", "math"}      -> {"ways"} or {"skip"}: one row through a dense network
{"do": "time", "way", "seconds"}         -> {"seconds": of one call, "calls"}
{"do": "outputs", "way", "file"}         -> {"counts": [elements of each output as float64, or null], one after the other}
{"do": "train", ...}, {"do": "epoch"}    -> see torch_train.py

What goes wrong is {"error": text}. All else that is printed goes to stderr, so that nothing gets between the lines.
"""

import gc
import importlib
import json
import mmap
import os
import sys
import time
import traceback

KINDS = {"real": "f4", "f32": "f4", "f64": "f8", "u8": "u1", "i32": "i4", "i64": "i8"}


class Given:
    """What an instruction is given: op, dims, scalars, run, math, and its arguments as flat arrays of the package."""

    def __init__(self, request, make):
        self.op, self.dims, self.scalars = request["op"], request["dims"], request["scalars"]
        self.run, self.math, self.described = request["run"], request["math"], request["args"]
        with open(request["file"], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            self.args = [a and make(memory, KINDS[a["dtype"]], a["count"], a["at"]) for a in request["args"]]


class Way:
    """One way to do the job: `run()` does it, `outputs(what run gave)` is in our order and layout, None where the package
    has no such output; `reset()` puts back what run updates; `many(n)` does it n times and returns the seconds
    of one."""

    def __init__(self, name, run, outputs, reset=lambda: None, many=None):
        self.name, self.run, self.outputs, self.reset = name, run, outputs, reset
        self.many = many or self.repeat

    def repeat(self, calls):
        run, begin = self.run, time.perf_counter()
        for _ in range(calls):
            run()
        return (time.perf_counter() - begin) / calls


class Server:
    """Holds one case at a time."""

    def __init__(self, package, threads, cpus):
        self.library = importlib.import_module(f"{package}_ops")
        self.library.start(threads)
        self.package, self.threads, self.cpus, self.ways, self.training = package, threads, cpus, [], None

    def hello(self, _):
        return {"package": self.package, "versions": self.library.versions(), "threads": self.threads, "cpus": self.cpus}

    def load(self, request):
        self.ways = []
        with self.library.guard():
            make = self.library.OPS.get(request["op"])
            self.ways = list(make(Given(request, self.library.array))) if make else []
        return {"ways": [w.name for w in self.ways]} if self.ways else {"skip": f"{self.package} has no {request['op']}"}

    def predict(self, request):
        with self.library.guard():
            self.ways = list(self.library.predicting(request)) if hasattr(self.library, "predicting") else []
        return {"ways": [w.name for w in self.ways]} if self.ways else {"skip": f"{self.package} predicts nothing here"}

    def time(self, request):
        way, seconds = self.ways[request["way"]], request["seconds"]
        with self.library.guard():
            way.reset()
            way.run()
            calls = max(1, int(seconds / way.many(1)))
            if calls > 3:  # the second call of a small one is still a slow one
                calls = max(1, int(seconds / way.many(max(1, calls // 10))))
            way.reset()
            return {"seconds": way.many(calls), "calls": calls}

    def outputs(self, request):
        way = self.ways[request["way"]]
        with self.library.guard(), open(request["file"], "wb") as file:
            way.reset()
            found = [o if o is None else self.library.doubles(o) for o in way.outputs(way.run())]
            way.reset()
            for o in found:
                file.write(b"" if o is None else o)
        return {"counts": [None if o is None else len(o) // 8 for o in found]}

    def train(self, request):
        self.ways, self.training = [], None
        if not hasattr(self.library, "training"):
            return {"skip": f"{self.package} trains no networks here"}
        self.training = self.library.training(request)
        return {} if self.training else {"skip": f"{self.package} has no such network"}

    def epoch(self, _):
        begin = time.perf_counter()
        loss = self.training()
        return {"seconds": time.perf_counter() - begin, "loss": loss}


def main():
    package, threads, *cpus = sys.argv[1:]
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(c) for c in cpus})
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    server, failed = None, None
    try:
        server = Server(package, int(threads), [int(c) for c in cpus])
    except Exception:
        failed = traceback.format_exc(limit=-1)
    gc.disable()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = {"error": failed} if failed else getattr(server, request["do"])(request)
        except Exception:
            reply = {"error": traceback.format_exc(limit=-2)}
        gc.collect()
        print(json.dumps(reply), file=out, flush=True)


if __name__ == "__main__":
    main()
