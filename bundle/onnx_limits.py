"""What an ONNX model may be made of: refused here, before onnxruntime sees the bytes, is what reaches outside them,
runs foreign code, or grows without bound when it is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import onnx

MAX_MODEL_BYTES: Final = 256 * 1024 * 1024
#: functions that call functions, and nodes once every call is replaced by what it calls
MAX_CALL_DEPTH: Final = 100
MAX_NODES: Final = 1_000_000
_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})
#: the most values that a byte of a tensor can hold: two of four bits
_VALUES_A_BYTE: Final = 2
_Function = tuple[str, str]


class ModelRefused(ValueError):
    """The ONNX bytes are not a graph that this service runs; the message says why."""


def check_graph(data: bytes) -> None:
    """Refuse what could reach outside the bytes, run foreign code, or swell. Raises ModelRefused."""
    if len(data) > MAX_MODEL_BYTES:
        raise ModelRefused(f"the model has {len(data)} bytes, more than {MAX_MODEL_BYTES}")
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:
        raise ModelRefused(f"not an ONNX model: {error}") from error
    if not model.ir_version or not model.graph.node:
        raise ModelRefused("not an ONNX model: it has no version or no nodes")
    if model.training_info:
        raise ModelRefused("the model carries a training graph")
    _check_messages(model)
    _check_functions(model)


def _check_messages(model: onnx.ModelProto) -> None:
    """Look at every part of the model, however deep it lies and whatever later schemas call it."""
    domains = {opset.domain for opset in model.opset_import}
    for message in _messages(model):
        if isinstance(message, onnx.NodeProto | onnx.FunctionProto):
            domains.add(message.domain)
        elif isinstance(message, onnx.TensorProto):
            _check_tensor(message)
    if foreign := sorted(domains - _DOMAINS):
        raise ModelRefused(f"the model uses operators of {', '.join(foreign)}: only ai.onnx and ai.onnx.ml are run")


def _messages(message: Any) -> Iterator[Any]:  # noqa: ANN401 - protobuf
    """The message and all that lie in it."""
    waiting = [message]
    while waiting:
        message = waiting.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting.extend(value if field.is_repeated else (value,))


def _check_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data) > 0:
        raise ModelRefused("the model keeps data outside its bytes")
    if any(size < 0 for size in tensor.dims):
        raise ModelRefused("a tensor of the model has a negative size")
    if math.prod(tensor.dims) > _VALUES_A_BYTE * tensor.ByteSize():
        raise ModelRefused(f"a tensor of the model has more values, {math.prod(tensor.dims)}, than its bytes can hold")


def _check_functions(model: onnx.ModelProto) -> None:
    """Functions are replaced by what they call: a chain of them eats the stack, a tree of them the memory."""
    calls = {(f.domain, f.name): _called(f.node) for f in model.functions}
    if len(calls) < len(model.functions):
        raise ModelRefused("a function of the model is defined twice")
    depths: dict[_Function, int] = {}
    sizes: dict[_Function, int] = {}
    for function in _inner_first(calls):
        inner = [name for name in calls[function] if name in calls]
        depths[function] = 1 + max((depths[name] for name in inner), default=0)
        sizes[function] = 1 + sum(sizes.get(name, 1) for name in calls[function])
        if depths[function] > MAX_CALL_DEPTH:
            raise ModelRefused(f"functions of the model call each other more than {MAX_CALL_DEPTH} deep")
    nodes = sum(sizes.get(name, 1) for name in _called(model.graph.node))
    if nodes > MAX_NODES:
        raise ModelRefused(f"the model has {nodes} nodes, more than {MAX_NODES}")


def _called(nodes: Iterable[onnx.NodeProto]) -> list[_Function]:
    """What these nodes call, and those of their inner graphs."""
    inner = (message for node in nodes for message in _messages(node) if isinstance(message, onnx.NodeProto))
    return [(node.domain, node.op_type) for node in inner]


def _inner_first(calls: Mapping[_Function, Iterable[_Function]]) -> Iterator[_Function]:
    """Every function after all that it calls. Raises ModelRefused where one calls itself."""
    done: set[_Function] = set()
    for start in calls:
        path: dict[_Function, Iterator[_Function]] = {} if start in done else {start: iter(calls[start])}
        while path:
            function = next(reversed(path))
            name = next((n for n in path[function] if n in calls and n not in done), None)
            if name is None:
                path.popitem()
                done.add(function)
                yield function
            elif name in path:
                raise ModelRefused(f"a function of the model calls itself: {name[1][:100]}")
            else:
                path[name] = iter(calls[name])
