"""The op registry: one row per op, its local gradient beside it, written as graph nodes - the way the lectures teach it.

A gradient that is the same number everywhere arrives as a `Constant` and is folded into what the rule builds. Formulas and
sources stand in csrc/ops/<family>.c; argument order, dims and scalars in csrc/nncore.h. One module here per group of families.
"""

import sys

from nncore.graph.node import Op
from nncore.graph.ops.activation import *  # noqa: F403
from nncore.graph.ops.augment import *  # noqa: F403
from nncore.graph.ops.conv import *  # noqa: F403
from nncore.graph.ops.data import *  # noqa: F403
from nncore.graph.ops.dense import *  # noqa: F403
from nncore.graph.ops.elementwise import *  # noqa: F403
from nncore.graph.ops.join import *  # noqa: F403
from nncore.graph.ops.loss import *  # noqa: F403
from nncore.graph.ops.norm import *  # noqa: F403
from nncore.graph.ops.pool import *  # noqa: F403
from nncore.graph.ops.rounding import *  # noqa: F403
from nncore.graph.ops.update import *  # noqa: F403

_FAMILIES = [module for name, module in sys.modules.items() if name.startswith(f"{__name__}.")]
OPS = {op.name: op for family in _FAMILIES for op in vars(family).values() if isinstance(op, Op)}
