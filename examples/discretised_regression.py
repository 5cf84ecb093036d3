"""Regression by discretisation: guessing an age from a picture, as a class among bins.

Takes about six seconds. The "age" of a picture is the share of its bright pixels, from 0 to 100 over the training set. A
network may learn the number itself; or the bin, by cross-entropy, and answer with the expectation sum_j p_j v_j over the bins'
centres; or that expectation, by its squared error, through a Softmax and a frozen layer that holds the centres. On so smooth
a target the number itself is hard to beat; the expectation beats the likeliest bin.
"""

from array import array

from common import fit_options, load, network

import nncore as nn

train, test = load("mnist")


def ages(split, scale):
    each, images = split.images.nbytes // len(split), split.images.tobytes()
    bright = images.translate(bytes(v > 127 for v in range(256)))
    return array("f", [scale * sum(bright[i * each : (i + 1) * each]) / each for i in range(len(split))])


scale = 100 / max(ages(train, 1.0))
y, test_y = ages(train, scale), ages(test, scale)
mean = sum(y) / len(y)
print(f"always the mean       {nn.regression_figures([mean] * len(test_y), test_y)}")

plain = network(outputs=1)
plain.fit((train.images, y), **fit_options(epochs=6))
print(f"the number itself     {nn.regression_figures(plain.predict(test.images), test_y)}")

bins = nn.Bins.quantiles(y, 20)
classifier = network(outputs=len(bins))
classifier.fit((train.images, bins.labels(y)), **fit_options(epochs=6))
print(f"classes, expectation  {nn.regression_figures(bins.expecting(classifier).predict(test.images), test_y)}")
chosen = [bins.centres[c] for c in classifier.predict(test.images).tolist()]
print(f"classes, likeliest    {nn.regression_figures(chosen, test_y)}")

through = bins.expecting(network(outputs=len(bins)).build(train.shape[1:]))
through.fit((train.images, y), loss=nn.SquaredError(), **fit_options(epochs=6, rate=1e-2))
print(f"squared error through {nn.regression_figures(through.predict(test.images), test_y)}")
