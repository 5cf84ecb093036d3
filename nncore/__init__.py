"""nncore: a neural-network engine written from nothing.

    import nncore as nn
    data = nn.data.load("fashion-mnist")
    model = nn.Sequential([nn.Dense(256), nn.ReLU(), nn.Dense(10)], seed=0)
    history = model.fit(data.train, epochs=5, batch=128, optimizer=nn.Adam(nn.OneCycle(3e-3)), validation=0.1)
    print(model.evaluate(data.test), model.tape)
"""

from nncore import data, examples
from nncore.errors import (DataError, GraphError, Interrupted, IsaError, LimitError, NNError, NonFiniteError, ShapeError,
                           UsageError)
from nncore.graph.tape import Executor
from nncore.nn import init
from nncore.nn.layers import (ELU, SELU, Dense, Dropout, Flatten, Input, LeakyReLU, LogSoftmax, ReLU, SaturatedLinear, Sigmoid,
                              Softmax, Softplus, Step, Tanh)
from nncore.nn.losses import (MSE, AbsoluteError, BinaryCrossEntropy, CrossEntropy, Hinge, Huber, LogisticLoss, MultiHinge,
                              SquaredError)
from nncore.optim.optimizers import SGD, AdaDelta, AdaGrad, Adam, AdamW, Momentum, Nesterov, RMSProp
from nncore.optim.regularizers import L1, L2
from nncore.optim.schedules import Constant, Cosine, Exponential, OneCycle, Piecewise, Power
from nncore.tensor import Tensor
from nncore.train.callbacks import Callback, EarlyStopping
from nncore.train.model import Model, Sequential, load

__version__ = "0.1.0"

__all__ = [
    "ELU", "L1", "L2", "MSE", "SELU", "SGD", "AbsoluteError", "AdaDelta", "AdaGrad", "Adam", "AdamW", "BinaryCrossEntropy",
    "Callback", "Constant", "Cosine", "CrossEntropy", "DataError", "Dense", "Dropout", "EarlyStopping", "Executor",
    "Exponential", "Flatten", "GraphError", "Hinge", "Huber", "Input", "Interrupted", "IsaError", "LeakyReLU", "LimitError",
    "LogSoftmax", "LogisticLoss", "Model", "Momentum", "MultiHinge", "NNError", "Nesterov", "NonFiniteError", "OneCycle",
    "Piecewise", "Power", "RMSProp", "ReLU", "SaturatedLinear", "Sequential", "ShapeError", "Sigmoid", "Softmax", "Softplus",
    "SquaredError", "Step", "Tanh", "Tensor", "UsageError", "data", "examples", "init", "load",
]
