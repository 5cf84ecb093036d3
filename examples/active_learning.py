"""Active learning: asking for the labels that tell most, against asking at random.

Takes about eight seconds. Both start from the same 100 labels and may ask for 100 more a round. The margin asks where the two
best classes are closest, the entropy where all are mixed; least confident looks at the best class alone. Settles 2009.
"""

from common import QUICK, load, network

import nncore as nn

pool, test = load("mnist", train=5_000)
rounds = 2 if QUICK else 5
ways = ("random", "margin") if QUICK else ("random", "least_confident", "margin", "entropy")
options = {"epochs": 15, "batch": 20, "optimizer": nn.Adam(nn.OneCycle(3e-3))}

print(f"{'labels':16}" + "".join(f"{100 * (i + 1):9}" for i in range(rounds + 1)))
for by in ways:
    steps = nn.active_learning(network, pool, start=100, count=100, rounds=rounds, by=by, test=test, **options)
    print(f"{by:16}" + "".join(f"{s.evaluation.accuracy:9.2%}" for s in steps))

asked = nn.query(steps[-1].model, pool, 5, by="margin")
print(f"next it would ask for the samples {asked}, of the classes {[pool.labels.tobytes()[i] for i in asked]}")
