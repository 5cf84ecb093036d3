"""k-fold cross-validation: choosing between recipes without looking at the test set.

Takes about eight seconds. Each recipe is trained once per fold on the others and measured on the fold; mean and deviation
say how much of a difference is luck. The test set is looked at once, at the end.
"""

from common import QUICK, fit_options, load, network

import nncore as nn

train, test = load(train=5_000)
folds = 3 if QUICK else 5

found = {}
for width in (8, 32, 128):
    found[width] = nn.cross_validate(lambda seed, w=width: network(seed, w), train, folds=folds, **fit_options())
    a = found[width].accuracy
    print(f"{width:4} hidden neurons: accuracy {a.mean:.2%} +- {a.deviation:.2%} over {folds} folds")
print(f"\nthe folds of the last recipe:\n{found[128]}")

best = max(found, key=lambda width: found[width].accuracy.mean)
model = network(0, best)
model.fit(train, **fit_options())
print(f"\nchosen: {best} hidden neurons; on the test set, once: {model.evaluate(test)}")
