"""Self-training: 300 labels and thousands of samples without any.

Takes about six seconds. The network labels those unlabelled samples of which it is sure, and learns from them in the next
round; its mistakes among them are the price. Lee 2013, *Pseudo-label*.
"""

from common import QUICK, load, network

import nncore as nn
from nncore.train.samples import samples

train, test = load("mnist", train=6_000)
labels = 200 if QUICK else 300
known, rest = samples(train).select(range(labels)), samples(train).select(range(labels, len(train)))
truth = train.labels.tobytes()[labels:]


def tell(number, found):
    got = found.model.predict(rest).tolist()
    right = sum(a == b for a, b in zip(got, truth, strict=True)) / len(truth)
    print(f"round {number}: {labels} labels and {found.pseudo:5,} pseudo-labels; on the test set {found.model.evaluate(test)}; "
          f"it would label {right:.1%} of the rest right")


nn.self_train(network, known, rest, rounds=2 if QUICK else 4, confidence=0.9, on_round=tell, epochs=15, batch=25,
              optimizer=nn.Adam(nn.OneCycle(3e-3)))
