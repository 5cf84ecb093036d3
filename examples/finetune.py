"""Fine-tuning: what a network has learned from plenty of drawn digits helps it with few handwritten ones.

Takes about five seconds. The network first learns generated glyphs. Then there are 100 handwritten digits: a new last layer is
put on; frozen, the rest serves as features; unfrozen, all goes on learning. A new network has nothing but the 100.
"""

from common import QUICK, first, fit_options, load, network

import nncore as nn

train, test = load("mnist")
few = first(train, 100)
glyphs = nn.data.glyphs(2_000 if QUICK else 20_000, 500, seed=7)
base = network(width=128)
base.fit(glyphs.train, **fit_options(epochs=8))
print(f"on glyphs {base.evaluate(glyphs.test)}")
print(f"{'as it is':24} nothing trained: {base.evaluate(test)}")

models = {
    "a new network": network(width=128),
    "new head, rest frozen": base.replace_head(10).freeze("0.*"),
    "the old head, frozen rest": base.copy().freeze("0.*"),
    "all goes on learning": base.copy(),
}
for name, model in models.items():
    model.fit(few, epochs=20, batch=10, optimizer=nn.Adam(nn.OneCycle(3e-3)))
    learned = sum(w.size for w in model.trainable)
    print(f"{name:24} {learned:7,} trained: {model.evaluate(test)}")
kept = models["new head, rest frozen"].parameter("0.weight") == base.parameter("0.weight")
print(f"the frozen layer is bit for bit what it was: {kept}")
