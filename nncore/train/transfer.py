"""What a trained network is taken on with: frozen parts, another head, copies."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from nncore.errors import UsageError
from nncore.graph.node import Node, Parameter
from nncore.nn.base import Connection, Layer
from nncore.nn.layers import Dense


class Transfer:
    """The part of a Model that fine-tuning needs. A model starts with everything trainable."""

    _freezing: tuple[tuple[str, bool], ...] = ()  # (pattern, frozen): the last match decides
    is_prepared = False  # whether the preprocessing is fixed: by a fit, or with the weights

    # ---- freezing -------------------------------------------------------------------------------------------------

    def freeze(self, *what: str | Layer) -> Transfer:
        """Keep parameters as they are in later fits: patterns on their names ("0.*", "*.bias"; fnmatch), or layers.

        Their gradients are not computed, nor what only they would need. Running statistics whose names match stand still
        too. Later calls win over earlier ones, so freeze("*") and unfreeze("4.*") trains one layer. Model files keep it.
        Returns self. Raises UsageError where nothing of that name is there: at once, or in fit if not built yet.
        """
        return self._mark(what, True)

    def unfreeze(self, *what: str | Layer) -> Transfer:
        """Train these parameters again; without arguments, all. Otherwise as `freeze`."""
        if not what:
            self._freezing = ()
        return self._mark(what, False)

    def _mark(self, what: Sequence[str | Layer], frozen: bool) -> Transfer:
        patterns = []
        for w in what:
            if isinstance(w, Layer):
                if not any(w is layer for layer in self.layers):
                    raise UsageError(f"{w!r} is no layer of this model")
                w = f"{next(i for i, layer in enumerate(self.layers) if layer is w)}.*"
            patterns.append(w)
        if self.parameters:
            self._check_patterns(patterns)
        self._freezing += tuple((p, frozen) for p in patterns)
        return self

    def _check_patterns(self, patterns: Sequence[str]) -> None:
        names = [*self.parameters, *self.states]
        for p in patterns:
            if not isinstance(p, str) or not any(fnmatchcase(name, p) for name in names):
                raise UsageError(f"no parameter matches {p!r}; there are {', '.join(self.parameters)}")

    def is_frozen(self, name: str) -> bool:
        """Whether the parameter or running statistic of that name stays as it is."""
        return next((frozen for p, frozen in reversed(self._freezing) if fnmatchcase(name, p)), False)

    @property
    def trainable(self) -> list[Parameter]:
        """The parameters that are not frozen. Raises UsageError if there are none, or for a pattern without a match."""
        self._check_patterns([p for p, _ in self._freezing])
        found = [w for w in self.parameters.values() if not self.is_frozen(w.name)]
        if self.parameters and not found:
            raise UsageError("all parameters are frozen: there is nothing to learn; unfreeze some of them")
        return found

    def moving(self, updates: list[Node]) -> list[Node]:
        """The layers' updates without those of frozen statistics."""
        return [u for u in updates if not all(self.is_frozen(u.inputs[i].name) for i in u.op.mutates)]

    # ---- copies and heads -----------------------------------------------------------------------------------------

    def copy(self) -> Transfer:
        """A network of its own with the same layers, weights, running statistics and preprocessing, without any training."""
        made = self._rebuilt(self.outputs, [c.layer for c in self._order])
        made._freezing = self._freezing
        if self._memory is not None:
            made.build(self.image_shape)
            made._take(self, [*made.parameters, *(s.name for s in made.kept_states)])
            made.classes = self.classes
        return made

    def replace_head(self, head: int | Sequence[Layer]) -> Transfer:
        """This trained network with another end: a number of classes replaces the last Dense by one with so many units,
        layers replace it and all that follows it. Everything before keeps weights, statistics, names and preprocessing; the
        new layers start from their initial values. Returns a new model, this one stays as it is:

            model = nn.load("digits.safetensors").replace_head(26).freeze("0.*")

        Raises UsageError without weights, for a network without a Dense on the only way to its output, or an empty head.
        """
        c, tail = self._last_dense()
        if isinstance(head, int):
            new = [Dense(head, c.layer.bias, c.layer.init), *tail]
        elif head and all(isinstance(layer, Layer) for layer in head):
            new = list(head)
        else:
            raise UsageError(f"replace_head takes a number of classes or a list of layers, got {head!r}")
        kept = [o.layer for o in self._order[: self._order.index(c)]]
        x = c.inputs[0]
        for layer in new:
            x = layer(x)
        made = self._rebuilt(x, [*kept, *new])
        made.build(self.image_shape)
        numbers = {str(made.layers.index(layer)): str(self.layers.index(layer)) for layer in kept}
        names = {}
        for name in [*made.parameters, *(s.name for s in made.kept_states)]:
            number, _, rest = name.partition(".")
            if number in numbers:
                names[name] = f"{numbers[number]}.{rest}"
        made._take(self, names)
        return made

    def _last_dense(self) -> tuple[Connection, list[Layer]]:
        """The last Dense on the way to the output, and the layers behind it."""
        if self._memory is None:
            raise UsageError("replace_head: the model has no weights to keep: fit it or load it first")
        c, tail = self.outputs, []
        while not isinstance(getattr(c, "layer", None), Dense):
            if getattr(c, "layer", None) is None or len(c.inputs) != 1:
                raise UsageError("replace_head: there is no Dense layer on a single way to one output")
            tail.insert(0, c.layer)
            c = c.inputs[0]
        return c, tail

    def _rebuilt(self, outputs, layers: list[Layer]) -> Transfer:
        """A model without weights over the same connections."""
        from nncore.train.model import Model, Sequential

        if isinstance(self, Sequential):
            made = Sequential(layers, self.seed, self.standardise, self.math, self.elementary)
        else:
            made = Model(self.inputs, outputs, self.seed, self.standardise, self.math, self.elementary)
        made.name = self.name
        return made

    def _take(self, other: Transfer, names) -> None:
        """Copy values from another model: {my name: its name}, or the same names; and its preprocessing."""
        names = names if isinstance(names, dict) else {n: n for n in names}
        pairs = [((self.parameters.get(a) or self.states[a]), (other.parameters.get(b) or other.states[b]))
                 for a, b in names.items()]
        for mine, its in [*pairs, (self.mean, other.mean), (self.scale, other.scale)]:
            self.memory.tensor(mine).memory[:] = other.memory.tensor(its).memory
        self.is_prepared = other.is_prepared
