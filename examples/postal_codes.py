"""Postal codes in 1989: a convolutional and a dense network learn from 7291 digits and may refuse what they cannot read.

Takes about a minute. LeCun et al. (1989, 1990) asked how many of 2007 test digits have to be refused until 1 % of the accepted
ones are read wrongly: 12 % by LeNet-1, 19.4 % by a dense net with 40 hidden neurons. Here the digits are MNIST's, drawn anew
for each seed; the better architecture refuses less.
"""

from array import array
from statistics import mean, stdev

from common import QUICK, load

import nncore as nn
from nncore.train.models import make
from nncore.train.samples import samples

TRAINED, TESTED, SEEDS, EPOCHS = (1000, 300, 2, 3) if QUICK else (7291, 2007, 5, 20)
train, test = (samples(part) for part in load("mnist", train=60_000))


def drawn(part, count, seed):
    """`count` samples, another choice for every seed."""
    return part.select(array("q", nn.data.permutation(len(part), seed)[:count]))


def measure(name, seed, **options):
    """(error, share refused for 1 % error) of one network of the zoo."""
    model, known, unseen = make(name, seed=seed, **options), drawn(train, TRAINED, seed), drawn(test, TESTED, seed)
    model.fit(known, epochs=EPOCHS, batch=32, optimizer=nn.Adam(nn.OneCycle(5e-3 if name == "lenet1" else 2e-3)))
    outputs, labels = model.predict(unseen, proba=True), unseen.label_list()
    return 1 - model.evaluate(unseen).accuracy, nn.rejection.rejected_share(outputs, labels, 0.01)


for title, name, options in (("784-40-10", "mlp", {"hidden": (40,)}), ("LeNet-1", "lenet1", {})):
    errors, refused = zip(*(measure(name, seed, **options) for seed in range(SEEDS)), strict=True)
    print(f"{title:>9}: {mean(errors):6.2%} +- {stdev(errors):.2%} wrong; for 1 % error {mean(refused):.1%} +- "
          f"{stdev(refused):.1%} refused")
