"""Model files and checkpoints: safetensors with everything needed to go on, and nothing that can run code.

Weights are stored under torch's names and in torch's layout ([out, in] for a dense layer, its inputs in the order in which
torch flattens an image; [K, C, R, S] for a convolution), so `load_state_dict` takes them.
The metadata holds architecture, preprocessing, classes and numerics id as JSON, and `nncore.sha256`: the SHA-256 of the
whole file with its own 64 digits as zeros, so that any flipped byte is noticed. A checkpoint adds the optimizer's and all
other states and the position, which is all that a bit-exact resume needs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from array import array
from math import prod

from nncore._ffi import ffi, lib
from nncore.errors import DataError, NNError
from nncore.files import reading, write_atomic
from nncore.graph.node import Leaf, Parameter
from nncore.nn.base import LAYERS, Connection, Input
from nncore.tensor import DTYPES, Tensor
from nncore.train.model import Model, Sequential

FORMAT = "nncore.model/1"
MAX_HEADER = 1 << 20
_DIGEST_KEY = b'"nncore.sha256":"'
_NAMES = {"f32": "float32", "f64": "float64", "i64": "int64", "i32": "int32", "u8": "uint8"}
_FILE_DTYPES = {"F32": "f32", "F64": "f64", "I64": "i64", "I32": "i32", "U8": "u8"}


# ---- layout in files -------------------------------------------------------------------------------------------------


def _axes(leaf: Leaf) -> tuple[int, int] | None:
    """(B, A): memory is [..., B, A] and the file [A, B, ...]; None if they are alike. Parameter explains the layouts."""
    kind, _, channels = getattr(leaf, "layout", "").partition(":")
    if kind == "rsck":
        return leaf.shape[2:]
    if kind == "hwc":
        return (1, leaf.shape[2])
    return (int(channels or 1), leaf.shape[1]) if kind == "io" else None


def file_shape(leaf: Leaf) -> tuple[int, ...]:
    """Shape in the file: dense weights are [out, in] there, a convolution's [K, C, R, S], an image's [C, H, W]."""
    if _axes(leaf) is None:
        return leaf.shape
    return leaf.shape[::-1] if len(leaf.shape) == 2 else (*leaf.shape[:1:-1], *leaf.shape[:2])


def to_file(leaf: Leaf, t: Tensor) -> bytes:
    """A tensor's bytes in file layout."""
    axes, flat = _axes(leaf), t.flat()
    if axes is None:
        return t.tobytes()
    B, A = axes
    return b"".join(flat[b * A + a :: B * A].tobytes() for a in range(A) for b in range(B))


def from_file(leaf: Leaf, t: Tensor, data: bytes) -> None:
    """Fill a tensor from bytes in file layout."""
    axes, flat = _axes(leaf), t.flat()
    if axes is None:
        t.memory[:] = data
        return
    B, A = axes
    source, run = memoryview(data).cast("f"), leaf.size // (A * B)
    for i in range(A * B):
        flat[i % B * A + i // B :: B * A] = source[i * run : (i + 1) * run]


def weights_sha256(model: Model) -> str:
    """SHA-256 over the parameters: float32 bytes in file layout, little-endian, names sorted, every NaN the canonical one."""
    digest = hashlib.sha256()
    for name in sorted(model.parameters):
        w = model.parameters[name]
        data = to_file(w, model.memory.tensor(w))
        values = memoryview(data).cast("f")
        if lib.nn_find_nonfinite(ffi.from_buffer("float[]", data), len(values)) >= 0:
            values = array("f", (v if v == v else float("nan") for v in values))
        digest.update(values)
    return digest.hexdigest()


# ---- describing a model ----------------------------------------------------------------------------------------------


def architecture(model: Model) -> dict:
    """The network as JSON: layers with their arguments, and which feed which (-1 is the input)."""
    index = {id(model.inputs): -1, **{id(c): i for i, c in enumerate(model._order)}}
    nodes = [{"layer": model.layers.index(c.layer), "inputs": [index[id(x)] for x in c.inputs]} for c in model._order]
    layers = []
    for layer in model.layers:
        config = {k: v for k, v in layer.config().items() if k != "init" or isinstance(v, str)}
        layers.append({"type": type(layer).__name__, **config})
    spec = {"layers": layers, "nodes": nodes, "input": list(model.image_shape), "seed": model.seed,
            "standardise": model.standardise, "sequential": isinstance(model, Sequential)}
    if isinstance(model.outputs, dict):
        spec["heads"] = {name: index[id(c)] for name, c in model.outputs.items()}
    if model.math != "f32":
        spec["math"] = model.math
    if model.elementary != "fast":
        spec["elementary"] = model.elementary
    if model._freezing:
        spec["frozen"] = [list(mark) for mark in model._freezing]
    return spec


def build_model(spec: dict, path: str) -> Model:
    """A model without weights from `architecture`'s JSON. Raises DataError for anything it does not know."""
    try:
        options = spec["seed"], spec["standardise"], spec.get("math", "f32"), spec.get("elementary", "fast")
        layers = []
        for entry in spec["layers"]:
            arguments = dict(entry)
            layers.append(LAYERS[arguments.pop("type")](**arguments))
        if spec["sequential"]:
            model = Sequential(layers, *options)
        else:
            made: list[Connection] = [start := Input(tuple(spec["input"]))]
            for node in spec["nodes"]:
                made.append(layers[node["layer"]](*(made[i + 1] for i in node["inputs"])))
            heads = spec.get("heads")
            outputs = {name: made[i + 1] for name, i in heads.items()} if heads else made[-1]
            model = Model(start, outputs, *options)
        model._freezing = tuple((str(pattern), bool(frozen)) for pattern, frozen in spec.get("frozen", ()))
        return model.build(tuple(spec["input"]))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, NNError) as e:
        what = f"unknown {e}" if isinstance(e, KeyError) else str(e)
        raise DataError(f"{path}: the architecture in the file is not one this nncore can build: {what}") from e


def _b64(t: Tensor) -> str:
    return base64.b64encode(t.tobytes()).decode()


def _metadata(model: Model) -> dict[str, str]:
    m = model.memory
    return {
        "nncore.format": FORMAT,
        "nncore.numerics": str(lib.NN_NUMERICS_ID),
        "nncore.sha256": "0" * 64,
        "nncore.architecture": json.dumps(architecture(model)),
        "nncore.classes": json.dumps(list(model.classes) if model.classes else None),
        "nncore.preprocess": json.dumps({"mean": _b64(m.tensor(model.mean)), "scale": _b64(m.tensor(model.scale))}),
    }


# ---- files -----------------------------------------------------------------------------------------------------------


def _write(path, tensors: list[tuple[str, str, tuple, bytes]], metadata: dict[str, str]) -> None:
    """Serialise, put the digest in place of its zeros, write atomically."""
    import safetensors

    kept, specs = [], {}
    for name, dtype, shape, data in tensors:
        pointer = ffi.from_buffer("char[]", data)
        kept.append(pointer)
        specs[name] = safetensors.TensorSpec(dtype=_NAMES[dtype], shape=list(shape),
                                             data_ptr=int(ffi.cast("uintptr_t", pointer)), data_len=len(data))
    data = bytearray(safetensors.serialize(specs, metadata))
    at = data.index(_DIGEST_KEY) + len(_DIGEST_KEY)
    data[at : at + 64] = hashlib.sha256(data).hexdigest().encode()
    write_atomic(path, bytes(data))


def _read(path: str) -> tuple[dict[str, tuple[str, tuple, bytes]], dict[str, str]]:
    """Tensors and metadata of a file of ours, everything checked: size, header, digest, format, numerics id."""
    with reading(path), open(path, "rb") as file:
        head = file.read(8)
        size = int.from_bytes(head, "little")
        if len(head) < 8 or size > MAX_HEADER:
            raise DataError(f"{path}: byte 0: not a model file of nncore (safetensors with a header of at most 1 MB)")
        data = head + file.read()
    import safetensors

    try:
        tensors = {name: (t["dtype"], tuple(t["shape"]), bytes(t["data"])) for name, t in safetensors.deserialize(data)}
        metadata = json.loads(data[8 : 8 + size])["__metadata__"]
        claimed = metadata["nncore.sha256"]
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as e:
        raise DataError(f"{path}: damaged, cut off, or not a model file of nncore: {e}; copy or train it again") from e
    at = data.index(_DIGEST_KEY) + len(_DIGEST_KEY)
    digest = hashlib.sha256(data[:at] + b"0" * 64 + data[at + 64 :]).hexdigest()
    if digest != claimed:
        raise DataError(f"{path}: the file is damaged: its bytes do not have the SHA-256 it states; copy or train it again")
    if metadata.get("nncore.format") != FORMAT:
        raise DataError(f"{path}: format {metadata.get('nncore.format')!r}, this nncore reads {FORMAT!r}")
    return tensors, metadata


def _fill(path: str, leaf: Leaf, t: Tensor, tensors: dict) -> None:
    if leaf.name not in tensors:
        raise DataError(f"{path}: tensor {leaf.name} is missing")
    dtype, shape, data = tensors[leaf.name]
    if _FILE_DTYPES.get(dtype) != t.dtype or shape != file_shape(leaf) or len(data) != t.nbytes:
        raise DataError(f"{path}: tensor {leaf.name} is {dtype} {shape}, the architecture needs {t.dtype} {file_shape(leaf)}")
    from_file(leaf, t, data)


def pack_model(model: Model) -> tuple[list, dict[str, str]]:
    """(tensors, metadata) of a model file: copies, so that `write_packed` may run while training goes on."""
    kept = [*model.parameters.values(), *model.kept_states]
    tensors = [(w.name, "f32", file_shape(w), to_file(w, model.memory.tensor(w))) for w in kept]
    return tensors, _metadata(model)


def write_packed(path, packed: tuple[list, dict[str, str]]) -> None:
    """Write what `pack_model` or `pack_checkpoint` gave. Raises LimitError; an old file is then untouched."""
    _write(path, *packed)


def save_model(model: Model, path) -> None:
    """Write a model file. Raises LimitError if it cannot be written; an old file is then untouched."""
    write_packed(path, pack_model(model))


def _model_from(path: str, tensors: dict, metadata: dict[str, str]) -> Model:
    try:
        spec, classes = json.loads(metadata["nncore.architecture"]), json.loads(metadata["nncore.classes"])
        preprocess = {k: base64.b64decode(v) for k, v in json.loads(metadata["nncore.preprocess"]).items()}
    except (KeyError, ValueError) as e:
        raise DataError(f"{path}: the metadata is incomplete: {e}") from e
    model = build_model(spec, path)
    kept = [*model.parameters.values(), *model.kept_states]
    known = {leaf.name for leaf in kept} | {"best", "history"}
    unknown = {n for n in tensors if n not in known and not n.startswith("state.")}
    if unknown:
        raise DataError(f"{path}: tensor {min(unknown)} does not belong to the architecture in the file")
    for leaf in kept:
        _fill(path, leaf, model.memory.tensor(leaf), tensors)
    for leaf, key in ((model.mean, "mean"), (model.scale, "scale")):
        t = model.memory.tensor(leaf)
        if len(preprocess.get(key, b"")) != t.nbytes:
            raise DataError(f"{path}: nncore.preprocess: {key} does not fit the architecture")
        t.memory[:] = preprocess[key]
    model.classes = tuple(classes) if classes else None
    mean, scale = (model.memory.tensor(leaf).tolist() for leaf in (model.mean, model.scale))
    model.is_prepared = any(mean) or any(x != 1 for x in scale)
    return model


def load_model(path) -> Model:
    """Read a model file (or the model in a checkpoint). Raises DataError naming the file and what is wrong with it."""
    path = os.fspath(path)
    return _model_from(path, *_read(path))


def save_checkpoint(trainer, path) -> None:
    """Write everything that a bit-exact resume needs: parameters, states, position, callbacks, best weights so far."""
    write_packed(path, pack_checkpoint(trainer))


def pack_checkpoint(trainer) -> tuple[list, dict[str, str]]:
    """(tensors, metadata) of a checkpoint: copies, so that `write_packed` may run while training goes on."""
    with trainer.seen(averages=False):
        return _pack_training(trainer)


def _pack_training(trainer) -> tuple[list, dict[str, str]]:
    model, p = trainer.model, trainer.position
    tensors, metadata = pack_model(model)
    for s in model.states.values():
        if s.init is not None:  # in the model's part already
            continue
        t = model.memory.tensor(s)
        tensors.append((f"state.{s.name}", t.dtype, s.shape, t.tobytes()))
    for i, c in enumerate(trainer.callbacks):
        if data := getattr(c, "blob", lambda _: b"")(trainer):
            tensors.append((f"state.callback.{i}", "u8", (len(data),), data))
    if trainer.best is not None:
        tensors.append(("best", "u8", (len(trainer.best),), trainer.best))
    history = json.dumps(trainer.history).encode()  # not in the metadata: it may outgrow the largest header
    tensors.append(("history", "u8", (len(history),), history))
    training = {"step": p.step, "epoch": p.epoch, "cursor": p.cursor, "reason": trainer.reason,
                "callbacks": [c.state() if hasattr(c, "state") else {} for c in trainer.callbacks]}
    return tensors, {**metadata, "nncore.training": json.dumps(training)}


def load_checkpoint(trainer, path) -> None:
    """Put a trainer, built from the same settings, where the checkpoint stands. Raises DataError if it does not fit."""
    path = os.fspath(path)
    tensors, metadata = _read(path)
    if metadata.get("nncore.numerics") != str(lib.NN_NUMERICS_ID):
        raise DataError(f"{path}: made with numerics id {metadata.get('nncore.numerics')}, this nncore has {lib.NN_NUMERICS_ID}: "
                        "the bits would differ; train again or use that version")
    model = trainer.model
    if json.loads(metadata["nncore.architecture"]) != architecture(model):
        raise DataError(f"{path}: the checkpoint is of another architecture or seed than this run")
    if "nncore.training" not in metadata:
        raise DataError(f"{path}: a model file, not a checkpoint: it has no optimizer state to go on from")
    training = json.loads(metadata["nncore.training"])
    for w in [*model.parameters.values(), *model.kept_states]:
        _fill(path, w, model.memory.tensor(w), tensors)
    for s in model.states.values():
        if s.init is not None:
            continue
        t = model.memory.tensor(s)
        dtype, shape, data = tensors.get(f"state.{s.name}", ("", (), b""))
        if _FILE_DTYPES.get(dtype) != t.dtype or prod(shape) * DTYPES[t.dtype][1] != t.nbytes:
            raise DataError(f"{path}: state {s.name} is missing or of another size: other data or another optimizer?")
        t.memory[:] = data
    p = trainer.position
    p.step, p.epoch, p.cursor = training["step"], training["epoch"], training["cursor"]
    trainer.history.extend(json.loads(tensors.get("history", ("", (), b"[]"))[2]))
    trainer.best = tensors["best"][2] if "best" in tensors else None
    trainer.reason = None if training["reason"] == "interrupted" else training["reason"]
    for c, state in zip(trainer.callbacks, training["callbacks"], strict=False):
        if state and hasattr(c, "restore"):
            c.restore(state)
    for i, c in enumerate(trainer.callbacks):
        if f"state.callback.{i}" in tensors and hasattr(c, "restore_blob"):
            c.restore_blob(tensors[f"state.callback.{i}"][2])


__all__ = ["Parameter", "load_checkpoint", "load_model", "save_checkpoint", "save_model", "weights_sha256"]
