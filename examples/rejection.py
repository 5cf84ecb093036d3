"""A classifier that may refuse: how many samples it has to leave to a human to be 99 % right on the rest.

Takes about three seconds. The gap between the two largest outputs tells how sure the network is; below a threshold it
refuses, and is right more often on what it accepts. Raw outputs and probabilities are two different gaps.
"""

from common import fit_options, load, network

import nncore as nn

train, test = load(train=60_000)
model = network(width=128)
model.fit(train, **fit_options(epochs=5))

for name, outputs in (("raw outputs", model.logits(test)), ("probabilities", model.predict(test, proba=True))):
    print(f"\nby the gap of {name}:")
    curve = nn.rejection.curve(outputs, test.labels)
    for share in (0, 0.05, 0.1, 0.2, 0.3, 0.4):
        print("  " + str(next(p for p in reversed(curve) if p.rejected_share <= share)))
    for error in (0.05, 0.02, 0.01):
        print(f"  error of at most {error:.0%}: refuse {nn.rejection.rejected_share(outputs, test.labels, error):.1%}")
