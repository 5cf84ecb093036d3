"""Several labels a sample: two images beside each other, and all classes that are in them.

Takes about four seconds. Each class has an output of its own, trained by binary cross-entropy; any number of them may be
true. An image shows one class where both halves show the same.
"""

from common import fit_options, load, network

import nncore as nn

train, test = load("mnist", train=20_000, test=4_000)


def pairs(split):
    """Images 2i and 2i + 1 side by side, and the set of their classes."""
    n, height, width = len(split) // 2, *split.shape[1:]
    rows, labels = split.images.memory, split.labels.memory
    out = bytearray(2 * n * height * width)
    for i in range(n * height):
        image, y = divmod(i, height)
        for half in (0, 1):
            at = ((2 * image + half) * height + y) * width
            out[(2 * i + half) * width : (2 * i + half + 1) * width] = rows[at : at + width]
    return nn.Tensor((n, height, 2 * width), "u8", out), [{labels[2 * i], labels[2 * i + 1]} for i in range(n)]


(x, sets), (test_x, test_sets) = pairs(train), pairs(test)
model = network(width=128)
model.fit((x, nn.multi_hot(sets, 10)), loss=nn.BinaryCrossEntropy(), **fit_options(epochs=15))
logits = model.logits(test_x)
print(nn.multilabel_figures(logits, nn.multi_hot(test_sets, 10)))
for i in range(3):
    found = {c for c, z in enumerate(logits.tolist()[i]) if z >= 0}
    print(f"pair {i}: found {sorted(found)}, there are {sorted(test_sets[i])}")
