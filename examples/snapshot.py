"""Snapshot ensembles: one training, its rate restarted again and again, leaves a committee.

Takes about six seconds. Each cosine cycle ends in a minimum of its own, and a copy is kept there: five members for the price
of one network, better together than each alone. Huang et al. 2017.
"""

from common import QUICK, load, network

import nncore as nn

train, test = load("mnist")
cycles, epochs = (3, 3) if QUICK else (5, 10)

model = network()
committee = nn.snapshots(model, train, cycles=cycles, epochs=epochs, rate=0.1, batch=64)
for i, member in enumerate(committee.members, start=1):
    together = nn.Committee(committee.members[:i]).evaluate(test)
    print(f"cycle {i}: alone {member.evaluate(test).accuracy:.2%}, the first {i} together {together.accuracy:.2%}")

single = network()
single.fit(train, epochs=epochs, batch=64, optimizer=nn.Momentum(nn.Cosine(0.1)))
print(f"one cosine over all {epochs} epochs: {single.evaluate(test).accuracy:.2%}")
