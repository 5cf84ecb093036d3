"""Gradient clipping: a training that would explode, and one that does not.

Takes about three seconds. The targets are large, so are the first gradients, and plain gradient descent throws the weights
beyond all numbers. Bounding the gradient's norm, or each of its elements, keeps the steps small; near the minimum the norm's
bound no longer acts. Pascanu, Mikolov, Bengio 2013.
"""

from array import array

from common import load

import nncore as nn

train, test = load("mnist")


def brightness(split):
    """The sum of the pixels of each image, in thousands: a number to predict."""
    each = split.images.nbytes // len(split)
    return array("f", [sum(split.images.memory[i * each : (i + 1) * each]) / 1000 for i in range(len(split))])


x, y = (train.images, brightness(train)), (test.images, brightness(test))
for clip in (None, nn.ClipNorm(10.0), nn.ClipNorm(1.0), nn.ClipValue(0.5)):
    model = nn.Sequential([nn.Dense(64), nn.LeakyReLU(slope=0.2), nn.Dense(1)])
    try:
        model.fit(x, epochs=4, batch=50, optimizer=nn.SGD(0.02), loss=nn.MSE(), clip=clip)
        print(f"{clip!s:16} {nn.regression_figures(model.predict(test.images), y[1])}")
    except nn.NonFiniteError as e:
        print(f"{clip!s:16} {str(e).splitlines()[0]}")
