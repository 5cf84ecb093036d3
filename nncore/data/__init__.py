"""Data: loaded by name or folder, from arrays in memory, or generated; images stay bytes until the first instruction.

>>> data = load("glyphs")
>>> data.train.shape, len(data.test)
((10000, 28, 28), 2000)
"""

from nncore.data.augment import Augment
from nncore.data.catalog import describe, get, load, load_folder, names, verify
from nncore.data.csv import make_csv, read_csv, write_csv
from nncore.data.dataset import Dataset, Split, from_arrays
from nncore.data.glyphs import glyphs
from nncore.data.idx import read_idx
from nncore.data.split import bootstrap, folds, holdout, permutation, standardisation

__all__ = [
    "Augment", "Dataset", "Split", "bootstrap", "describe", "folds", "from_arrays", "get", "glyphs", "holdout", "load",
    "load_folder",
    "make_csv", "names", "permutation", "read_csv", "read_idx", "standardisation", "verify", "write_csv",
]
