"""Averaged weights: what a noisy training has been circling around.

Takes about five seconds. With a high constant rate the weights jump about a minimum; their exponential average (EMA) or the
mean over the last epochs (SWA) lies inside. The training itself is the same to the bit. Polyak and Juditsky 1992; Izmailov et
al. 2018.
"""

from common import QUICK, load, network

import nncore as nn

train, test = load()
epochs = 3 if QUICK else 8
for average in (None, nn.EMA(0.9), nn.EMA(0.99), nn.EMA(0.999, warmup=True), nn.SWA(0.5)):
    model = network()
    trainer = model.trainer(train, epochs=epochs, batch=32, optimizer=nn.SGD(0.3), average=average)
    trainer.run()
    with trainer.seen(averages=False):
        behind = model.weights_sha256[:12]
    print(f"{average!r:34} {model.evaluate(test)}; weights of the training {behind}")
