"""Distillation: a small network learns from a large one, and from a committee, instead of from labels.

Takes about fifteen seconds. A teacher's softened outputs say of each image how much it looks like every class, which is more
than a label says. Here only 1,000 images have labels; the teachers learned from them, and the student sees 10,000 images with
the teachers' answers. Hinton, Vinyals, Dean 2015.
"""

from common import fit_options, load, network, part

import nncore as nn

train, test = load("mnist")
labelled = part(train, 0, len(train) // 10)
options = fit_options(epochs=10)

teacher = network(width=512)
teacher.fit(labelled, **fit_options(epochs=20, batch=20))
committee = nn.seed_committee(lambda seed: network(seed, 128), labelled, members=5, **fit_options(epochs=20, batch=20))
print(f"teacher, 512 hidden neurons    {teacher.evaluate(test)}")
print(f"committee of 5                 {committee.evaluate(test)}")

student = network(seed=9, width=16)
student.fit(labelled, **fit_options(epochs=20, batch=20))
print(f"student, 16, from the labels   {student.evaluate(test)}")
for temperature in (1.0, 4.0):
    student = network(seed=9, width=16)
    nn.distil(student, teacher, train, temperature, **options)
    print(f"student, teacher at T = {temperature:.0f}      {student.evaluate(test)}")
student = network(seed=9, width=16)
nn.distil(student, committee, train, **options)
print(f"student, from the committee    {student.evaluate(test)}")
