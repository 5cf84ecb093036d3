"""nncore: a neural-network engine written from nothing.

    import nncore as nn
    data = nn.data.load("fashion-mnist")
    model = nn.Sequential([nn.Dense(256), nn.ReLU(), nn.Dense(10)], seed=0)
    history = model.fit(data.train, epochs=5, batch=128, optimizer=nn.Adam(nn.OneCycle(3e-3)), validation=0.1)
    print(model.evaluate(data.test), model.tape)
"""

from importlib import import_module

__version__ = "0.1.0"

# Every public name and the module it lives in, imported when first asked for (PEP 562): `import nncore` costs a
# millisecond, and a program pays for what it uses.
_HOMES = {
    "nncore.data.augment": "Augment",
    "nncore.train.augmentation": "augmented",
    "nncore.errors": "DataError FlaggedError GraphError Interrupted IsaError LimitError NNError NonFiniteError ShapeError "
                     "UsageError",
    "nncore.graph.events": "Policy",
    "nncore.graph.tape": "Executor",
    "nncore.nn.base": "Input",
    "nncore.nn.conv": "Conv2D ConvTranspose2D",
    "nncore.nn.layers": "Dense Dropout ELU Flatten GELU LeakyReLU LogSoftmax ReLU SELU SaturatedLinear Sigmoid Softmax "
                        "Softplus Step Tanh",
    "nncore.nn.losses": "AbsoluteError BinaryCrossEntropy CrossEntropy Distillation Hinge Huber LogisticLoss MSE MultiHinge "
                        "MultiTask PerceptronCriterion SquaredError",
    "nncore.nn.merge": "ActivationPenalty Add Concat Pad2D Reshape Slice",
    "nncore.nn.norm": "BatchNorm LayerNorm LocalResponseNorm SpatialDropout2D",
    "nncore.nn.pool": "AvgPool2D GlobalAvgPool2D L2Pool2D MaxPool2D Upsample2D",
    "nncore.optim.averages": "EMA SWA",
    "nncore.optim.clipping": "ClipNorm ClipValue",
    "nncore.optim.optimizers": "AdaDelta AdaGrad Adam AdamW Momentum Nesterov RMSProp SGD",
    "nncore.optim.regularizers": "ElasticNet L1 L2",
    "nncore.optim.schedules": "Constant Cosine CosineRestarts Exponential Geometric OneCycle Piecewise Power",
    "nncore.tensor": "Tensor",
    "nncore.train.averaging": "update_statistics",
    "nncore.train.callbacks": "CSVLogger Callback EarlyStopping LambdaCallback LearningRateSchedule ModelCheckpoint "
                              "ProgressPrinter ReduceOnPlateau TerminateOnNonFinite",
    "nncore.train.ensemble": "Committee bagging seed_committee snapshots",
    "nncore.train.instruments": "Instruments",
    "nncore.train.methods.active": "active_learning query uncertainty",
    "nncore.train.methods.bins": "Bins",
    "nncore.train.methods.distillation": "distil",
    "nncore.train.methods.multilabel": "multi_hot multilabel_figures",
    "nncore.train.methods.regression": "regression_figures",
    "nncore.train.methods.self_training": "self_train",
    "nncore.train.methods.views": "predict_views views",
    "nncore.train.model": "Model Sequential load",
    "nncore.train.rates": "RateSearch find_rate",
    "nncore.train.validation": "CrossValidation cross_validate",
}
_MODULES = {
    "data": "nncore.data",
    "examples": "nncore.examples",
    "init": "nncore.nn.init",
    "lab": "nncore.lab",
    "order": "nncore.lab.order",
    "rejection": "nncore.train.rejection",
}
_NAMES = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [*_NAMES, *_MODULES]


def __getattr__(name: str):
    if name in _MODULES:
        value = import_module(_MODULES[name])
    elif name in _NAMES:
        value = getattr(import_module(_NAMES[name]), name)
    else:
        raise AttributeError(f"module 'nncore' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
