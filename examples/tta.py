"""Test-time augmentation: one network, several looks at each image.

Takes about eight seconds. Every test image is also shown shifted by a pixel in all directions, and the probabilities are
averaged. A network that has learned shifted images too gains most; so does, a little, one that has not. What the views are is
knowledge of the task: mirrored digits are other signs, and looking at them does harm.
"""

from common import QUICK, fit_options, load, network

import nncore as nn

train, test = load("mnist", train=5_000, test=2_000)
labels = test.labels.tobytes()


def accuracy(model, shift, mirror=False):
    proba = nn.predict_views(model, test, shift, mirror)
    return sum(row.index(max(row)) == t for row, t in zip(proba.tolist(), labels, strict=True)) / len(labels)


shifts = nn.views(train.images, 1)
images = nn.Tensor((len(shifts) * len(train), *train.shape[1:]), "u8", b"".join(v.tobytes() for v in shifts))
copies = images, nn.Tensor((len(images),), "u8", train.labels.tobytes() * len(shifts))

for name, data, epochs in (("the images", train, 9), ("all shifts of them", copies, 2 if QUICK else 3)):
    model = network(width=128)
    model.fit(data, **fit_options(epochs))
    print(f"trained on {name:18}  one look {accuracy(model, 0):.2%}, nine shifted looks {accuracy(model, 1):.2%}, "
          f"with mirrored ones {accuracy(model, 0, mirror=True):.2%}")
