"""Plain and binary regression: a number, and a yes or no, from an image.

Takes about four seconds. The number is how many pixels are bright; squared, absolute and Huber losses are compared, on targets of
which a twentieth is nonsense. The question is whether the class is below 5: one output, binary cross-entropy.
"""

from array import array

from common import fit_options, load, network

import nncore as nn

train, test = load("mnist")


def bright(split):
    """Pixels above 127, in hundreds."""
    each, images = split.images.nbytes // len(split), split.images.tobytes()
    high = images.translate(bytes(v > 127 for v in range(256)))
    return array("f", [sum(high[i * each : (i + 1) * each]) / 100 for i in range(len(split))])


y, test_y = bright(train), bright(test)
noisy = array("f", [50.0 if i % 20 == 0 else v for i, v in enumerate(y)])
for loss in (nn.MSE(), nn.AbsoluteError(), nn.Huber(0.1)):
    for name, targets in (("clean", y), ("noisy", noisy)):
        model = network(width=64, outputs=1)
        model.fit((train.images, targets), loss=loss, **fit_options(epochs=6))
        print(f"{type(loss).__name__:14} {name}: {nn.regression_figures(model.predict(test.images), test_y)}")

small, test_small = (nn.Tensor((len(s),), "u8", bytes(t < 5 for t in s.labels.tobytes())) for s in (train, test))
model = network(outputs=1)
model.fit((train.images, small), loss=nn.BinaryCrossEntropy(), **fit_options())
answers = [z >= 0 for (z,) in model.predict(test.images).tolist()]
right = sum(a == b for a, b in zip(answers, test_small.tolist(), strict=True)) / len(test)
print(f"is it below 5? {right:.2%} right")
