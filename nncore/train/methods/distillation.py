"""Knowledge distillation: a small network learns what a large one, or a committee, answers - right and wrong classes alike.

    nn.distil(student, teacher, data.train, temperature=4, epochs=5)

Hinton, Vinyals, Dean 2015, *Distilling the knowledge in a neural network*.
"""

from __future__ import annotations

from nncore.errors import ShapeError
from nncore.nn.losses import CrossEntropy, Distillation
from nncore.tensor import Tensor
from nncore.train.ensemble import Committee
from nncore.train.history import History
from nncore.train.methods.views import _picked
from nncore.train.model import Model
from nncore.train.samples import Samples, samples


def distil(student: Model, teacher: Model | Committee, data, temperature: float = 4.0, **fit) -> History:
    """Fit the student to the teacher's outputs on samples that need no labels; returns its history.

    A teaching network is softened: the targets are softmax(logits / T), the loss is Distillation(T). A committee teaches
    by its mean probabilities, the loss is CrossEntropy. **fit: arguments of Model.fit; validation may be labelled data.
    Raises ShapeError where student and teacher have other numbers of classes.
    """
    data = samples(data)
    x = data.x if data.rows is None else _picked(data.x, data.rows)
    if isinstance(teacher, Committee):
        targets, loss = teacher.predict(x, proba=True), CrossEntropy()
    else:
        targets, loss = teacher.logits(x), Distillation(temperature)
    outputs = student.build(data.image_shape).logits(Tensor((1, *x.shape[1:]), x.dtype)).shape[1]
    if outputs != targets.shape[1]:
        raise ShapeError(f"distil: the student has {outputs} outputs, the teacher {targets.shape[1]}")
    student.classes = getattr(teacher, "classes", None) or data.classes
    return student.fit(Samples(x, targets=targets, classes=student.classes), loss=loss, **fit)
