"""Bagging: each member of a committee is trained on n draws with replacement from the n samples.

Takes about ten seconds. A member sees about 1 - 1/e = 63 % of the samples, so each alone is worse than a network trained
on all; together they are better. Breiman 1996.
"""

from common import fit_options, load, network

import nncore as nn

train, test = load("mnist")
drawn = nn.data.bootstrap(len(train), seed=0)
print(f"{len(train):,} draws hit {len(set(drawn)):,} samples: {len(set(drawn)) / len(train):.1%}")

single = network()
single.fit(train, **fit_options(epochs=8))
print(f"one network on all samples   {single.evaluate(test)}")

committee = nn.bagging(network, train, members=7, **fit_options(epochs=8))
accuracies = [m.evaluate(test).accuracy for m in committee.members]
print(f"members on draws             accuracy {min(accuracies):.2%} to {max(accuracies):.2%}")
for size in (1, 3, 5, 7):
    print(f"{size} of them                    {nn.Committee(committee.members[:size]).evaluate(test)}")
