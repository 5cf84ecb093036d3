"""The thread in which a training runs, so that the main one can show progress and hear Ctrl-C."""

from __future__ import annotations

import queue
import threading


class Worker:
    """A thread that runs one call after the other, so that OpenMP keeps its team between epochs."""

    class Call:
        """One call in progress: `done` is set at its end, `failure` what it raised."""

        def __init__(self, function):
            self.function, self.done, self.failure = function, threading.Event(), None

    def __init__(self):
        self._calls: queue.SimpleQueue = queue.SimpleQueue()
        threading.Thread(target=self._work, name="nncore-train", daemon=True).start()

    def start(self, function) -> Call:
        """Hand a call to the thread; returns at once."""
        call = self.Call(function)
        self._calls.put(call)
        return call

    def close(self) -> None:
        """End the thread after the calls it has."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call.function()
            except BaseException as e:  # carried to the thread that waits
                call.failure = e
            call.done.set()
