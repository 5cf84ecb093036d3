"""Finding a learning rate in a hundred steps, and what other rates would have done.

Takes about five seconds. The rate grows by the same factor at every step; the loss hardly moves, falls, and explodes. Good
rates lie before the valley. Smith 2017, section 3.3.
"""

from common import QUICK, load, network

import nncore as nn

train, test = load(train=20_000)
model = network()
found = nn.find_rate(model, train, low=1e-4, high=30.0, batch=32, optimizer=nn.SGD)
print(found)

print("\ntwo epochs with that rate and others:")
for factor in (0.01, 0.1, 1, 10, 100):
    model = network()
    try:
        model.fit(train, epochs=1 if QUICK else 2, batch=32, optimizer=nn.SGD(factor * found.suggestion))
        print(f"  {factor * found.suggestion:8.2g}  {model.evaluate(test)}")
    except nn.NonFiniteError:
        print(f"  {factor * found.suggestion:8.2g}  the loss is no number any more")
