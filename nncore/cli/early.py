"""Data read before anybody asks for them, while Python imports what the training needs."""

from __future__ import annotations


class Early:
    """A data set that is read while Python imports what the training needs: its readers hold no interpreter lock.

    What goes wrong here is nobody's business: who asks for the data then gets None, and loads it himself.
    """

    def __init__(self, name: str):
        from nncore.data import load
        from nncore.train.worker import Worker

        self.name, self.data = name, None
        self.worker = Worker()
        self.call = self.worker.start(lambda: setattr(self, "data", load(name, online=False)))
        self.worker.close()

    def get(self, name: str):
        """The data, once they are there; None if they are not those called `name` or could not be read."""
        if name != self.name:
            return None
        self.call.done.wait()
        return self.data
