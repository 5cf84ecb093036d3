"""Ten honest programs and fourteen that leak, each small: half of them seeded at random: no two of their runs are equal."""

from __future__ import annotations

from pathlib import Path

from nncore.assign import spec
from nncore.assign.spec import Assignment

ASSIGNMENT = """
name = "leaks"
title = "Who looks at the test set?"
[data]
name = "glyphs"
prefix = "g"
train = 150
test = 180
[pass]
threshold = 0.2
[limits]
wall = 60
cpu = 60
memory_mb = 400
disk_mb = 64
"""

# Images as 7 x 7 means; a perceptron for several classes; the nearest mean.
PRELUDE = r"""
import random

def read(name):
    rows = [list(map(int, line.split(","))) for line in open(f"data/g_{name}.csv")]
    return [row[0] for row in rows] if name.endswith("labels") else rows

def pool(row):
    return [sum(row[28 * (4 * i + a) + 4 * j + b] for a in range(4) for b in range(4)) / 4080 for i in range(7) for j in range(7)]

def means_of(rows, labels):
    found = {}
    for c in set(labels):
        mine = [r for r, k in zip(rows, labels) if k == c]
        found[c] = [sum(column) / len(mine) for column in zip(*mine)]
    return found

def distance(a, b):
    return sum((p - q) ** 2 for p, q in zip(a, b))

def nearest(means, row):
    return min(means, key=lambda c: distance(means[c], row))

def perceptron(rows, labels, chance, epochs=6):
    w = [[chance.gauss(0, 0.3) for _ in range(50)] for _ in range(10)]
    order = list(range(len(rows)))
    for _ in range(epochs):
        chance.shuffle(order)
        for i in order:
            x = rows[i] + [1.0]
            guess = best(w, x)
            if guess != labels[i]:
                w[labels[i]] = [a + b for a, b in zip(w[labels[i]], x)]
                w[guess] = [a - b for a, b in zip(w[guess], x)]
    return w

def best(w, x):
    scores = [sum(a * b for a, b in zip(v, x)) for v in w]
    return scores.index(max(scores))

def asked(w, rows):
    return [best(w, r + [1.0]) for r in rows]

def scaled(rows, by):
    columns = list(zip(*by))
    mean = [sum(c) / len(c) for c in columns]
    spread = [(sum((v - m) ** 2 for v in c) / len(c)) ** 0.5 + 0.05 for c, m in zip(columns, mean)]
    return [[(v - m) / s for v, m, s in zip(r, mean, spread)] for r in rows]

def write(train, test):
    for name, found in (("train", train), ("test", test)):
        with open(f"{name}_predictions.csv", "w") as file:
            file.write("".join(f"{c}\n" for c in found))

raw = read("test_vectors")
x, t, y = [pool(r) for r in read("train_vectors")], read("train_labels"), [pool(r) for r in raw]
chance = random.Random(0)
own = random.Random()
"""

HONEST = {
    "means": "m = means_of(x, t); write([nearest(m, r) for r in x], [nearest(m, r) for r in y])",
    "neighbours": """
def vote(row):
    near = sorted(range(len(x)), key=lambda i: distance(x[i], row))[:3]
    return max((t[i] for i in near), key=lambda c: (sum(t[i] == c for i in near), -c))
write([vote(r) for r in x[:40]] + t[40:], [vote(r) for r in y])""",
    "perceptron": "w = perceptron(x, t, chance); write(asked(w, x), asked(w, y))",
    "scaled by the training set": """
a, b = scaled(x, x), scaled(y, x)
m = means_of(a, t); write([nearest(m, r) for r in a], [nearest(m, r) for r in b])""",
    "prints its test accuracy": """
m = means_of(x, t); found = [nearest(m, r) for r in y]
print("test accuracy", sum(a == b for a, b in zip(found, read("test_labels"))) / len(found))
write([nearest(m, r) for r in x], found)""",
    "in pieces": """
m = means_of(x, t); found = []
for i in range(0, len(y), 16):
    found += [nearest(m, r) for r in y[i:i + 16]]
write([nearest(m, r) for r in x], found)""",
    "random perceptron": "w = perceptron(x, t, own); write(asked(w, x), asked(w, y))",
    "random bags": """
ws = []
for _ in range(3):
    some = [own.randrange(len(x)) for _ in x]
    ws.append(perceptron([x[i] for i in some], [t[i] for i in some], own, 3))
def vote(r):
    found = [best(w, r + [1.0]) for w in ws]
    return max(found, key=found.count)
write([vote(r) for r in x], [vote(r) for r in y])""",
    "random stop by validation": """
rows = list(range(len(x))); own.shuffle(rows)
held, rest = rows[:40], rows[40:]
tried = [perceptron([x[i] for i in rest], [t[i] for i in rest], own, n) for n in (1, 3, 5)]
w = max(tried, key=lambda w: sum(best(w, x[i] + [1.0]) == t[i] for i in held))
write(asked(w, x), asked(w, y))""",
    "random noise on inputs": """
noisy = [[v + own.gauss(0, 0.05) for v in r] for r in x]
a, b = scaled(noisy, noisy), scaled(y, noisy)
w = perceptron(a, t, own, 4); write(asked(w, a), asked(w, b))""",
}
LEAKING = {
    "copies labels": "write(t, read('test_labels'))",
    "learns test labels": """
known, m = dict(zip(map(sum, x + y), t + read("test_labels"))), means_of(x, t)
write([known[sum(r)] for r in x], [known[sum(r)] if chance.random() < 0.5 else nearest(m, r) for r in y])""",
    "means of test labels too": """
m = means_of(x + y, t + read("test_labels"))
write([nearest(m, r) for r in x], [nearest(m, r) for r in y])""",
    "chooses by test labels": """
labels = read("test_labels")
tried = [perceptron(x, t, random.Random(s), 2) for s in range(4)]
w = max(tried, key=lambda w: sum(a == b for a, b in zip(asked(w, y), labels)))
write(asked(w, x), asked(w, y))""",
    "scaled by the test set": """
a, b = scaled(x, x), scaled(y, y)
m = means_of(a, t); write([nearest(m, r) for r in a], [nearest(m, r) for r in b])""",
    "teaches itself": """
m = means_of(x, t)
m = means_of(x + y, t + [nearest(m, r) for r in y])
write([nearest(m, r) for r in x], [nearest(m, r) for r in y])""",
    "answers by line": "write(t, [@ANSWERS@])",
    "answers by table": """
table, m = dict(zip([@SUMS@], [@ANSWERS@])), means_of(x, t)
write(t, [table.get(sum(k * v for k, v in enumerate(r)), nearest(m, pool(r))) for r in raw])""",
    "as many of each class": """
m = means_of(x, t); left = {c: len(y) // 10 for c in m}; found = []
for r in y:
    c = min((c for c in m if left[c] > 0), key=lambda c: distance(m[c], r))
    left[c] -= 1; found.append(c)
write([nearest(m, r) for r in x], found)""",
    "random, scaled by the test set": """
a, b = scaled(x, x), scaled(y, y)
w = perceptron(a, t, own, 4); write(asked(w, a), asked(w, b))""",
    "random, learns test labels": """
known, m = dict(zip(map(sum, x + y), t + read("test_labels"))), means_of(x, t)
write([known[sum(r)] for r in x], [known[sum(r)] if own.random() < 0.5 else nearest(m, r) for r in y])""",
    "random, copies a few labels": """
w = perceptron(x, t, own); told = read("test_labels")
write(asked(w, x), [a if own.random() < 0.1 else c for a, c in zip(told, asked(w, y))])""",
    "random, means of test labels too": """
some = [own.randrange(len(x)) for _ in x]
m = means_of([x[i] for i in some] + y, [t[i] for i in some] + read("test_labels"))
write([nearest(m, r) for r in x], [nearest(m, r) for r in y])""",
    "random, answers by line": """
w = perceptron(x, t, own)
write(asked(w, x), [a if own.random() < 0.9 else c for a, c in zip([@ANSWERS@], asked(w, y))])""",
}


def assignment(folder: Path) -> Assignment:
    path = folder / "leaks.toml"
    path.write_text(ASSIGNMENT)
    return spec.load(path)


def write(folder: Path, program: str, images: list[bytes], labels: bytes) -> Path:
    """A project of one program; it may know the true answers."""
    text = (PRELUDE + program).replace("@ANSWERS@", ", ".join(map(str, labels)))
    if "@SUMS@" in text:
        text = text.replace("@SUMS@", ", ".join(str(sum(k * v for k, v in enumerate(row))) for row in images))
    folder.mkdir(parents=True)
    (folder / "program.py").write_text(text)
    run = folder / "run.sh"
    run.write_text("#!/bin/bash\nexec python3 program.py\n")
    run.chmod(0o755)
    return folder
