"""Bad versions, made here: each is what a hostile or broken registry could hand to serving."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import TensorProto, helper

from bundle.blobs import BlobStore, digest_of
from bundle.manifest import FEATURES, GOLDEN, MODEL, REFERENCE, Manifest
from tests.serving_harness import ControlStandIn
from tests.versions import FEATURES_SOURCE, ROWS, SIGNATURE, graph, make_version

ANY_SCORES: Final = [0.5] * len(ROWS)
#: the artefact's maker stores what serving will be told of and returns the manifest's digest
Maker = Callable[["Bait"], str]


@dataclass(frozen=True)
class Bait:
    """Where an artefact is put, and what it tries to reach: a file, and a port that somebody listens on."""

    control: ControlStandIn
    cache: BlobStore
    canary: Path
    port: int

    @property
    def blobs(self) -> BlobStore:
        return self.control.blobs


class _Bomb:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.read_bytes, (self._path,)


def _pickle(bait: Bait) -> bytes:
    return pickle.dumps(_Bomb(bait.canary))


def _zip(bait: Bait) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", _pickle(bait))
    return held.getvalue()


def _tar(bait: Bait, kind: bytes) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        link = tarfile.TarInfo(MODEL)
        link.type, link.linkname = kind, str(bait.canary)
        archive.addfile(link)
    return held.getvalue()


def _changed(change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_model_from_string(graph())
    change(model)
    data: bytes = model.SerializeToString()
    return data


def _external(location: str) -> bytes:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("float_data")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location

    return _changed(change)


def _external_in_a_function(location: str) -> bytes:
    def change(model: onnx.ModelProto) -> None:
        tensor = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [1.0])
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location
        node = helper.make_node("Constant", [], ["out"], value=tensor)
        opsets = [helper.make_opsetid("", 17)]
        model.functions.append(helper.make_function("ai.onnx.ml", "Hidden", [], ["out"], [node], opsets))

    return _changed(change)


def function_chain(depth: int, calls: int = 1, last: str = "Identity") -> bytes:
    """A chain (or, with more calls, a tree) of functions that call the next."""

    def change(model: onnx.ModelProto) -> None:
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
        for number in range(depth):
            inner = last if number == depth - 1 else f"F{number + 1}"
            domain = "" if inner == "Identity" else "ai.onnx.ml"
            nodes = [helper.make_node(inner, ["x"], [f"y{call}"], domain=domain) for call in range(calls)]
            model.functions.append(helper.make_function("ai.onnx.ml", f"F{number}", ["x"], ["y0"], nodes, opsets))
        model.graph.node.append(helper.make_node("F0", ["one"], ["unused"], domain="ai.onnx.ml"))

    return _changed(change)


def _deep_graphs(depth: int) -> bytes:
    """Graphs inside of graphs, written as bytes: the library that reads them would refuse to make them."""
    inner = b""
    for _ in range(depth):
        attribute = _field(1, b"then_branch") + _field(6, inner)
        inner = _field(1, _field(4, b"If") + _field(5, attribute))
    return b"\x08\x09" + _field(7, inner)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _swelling_constant(model: onnx.ModelProto) -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1 << 20, 1 << 20])
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["huge"]))
    model.graph.output.append(helper.make_tensor_value_info("huge", TensorProto.FLOAT, [None, None]))


def _large_dims(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [1 << 31, 1 << 31]


def _negative_dims(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [-2, -1]


def _custom_op(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Run", ["one"], ["unused"], domain="com.example.shell"))
    model.opset_import.append(helper.make_opsetid("com.example.shell", 1))


def _custom_op_within(model: onnx.ModelProto) -> None:
    node = helper.make_node("Run", [], ["out"], domain="com.example.shell")
    inner = helper.make_graph([node], "inner", [], [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1])])
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("t", TensorProto.BOOL, [], [True]))
    either = helper.make_node("If", ["yes"], ["unused"], then_branch=inner, else_branch=inner)
    model.graph.node.extend([yes, either])


def model_bytes(make: Callable[[Bait], bytes]) -> Maker:
    """A version whose graph is these bytes."""

    def store(bait: Bait) -> str:
        return make_version(bait.blobs, model=make(bait), golden_scores=ANY_SCORES)

    return store


def recipe(line: str) -> Maker:
    """A version whose feature module does this when it is imported; it names CANARY and PORT."""

    def store(bait: Bait) -> str:
        done = line.replace("CANARY", repr(str(bait.canary))).replace("PORT", str(bait.port))
        return make_version(bait.blobs, features=f"{done}\n\n\n{FEATURES_SOURCE}", golden_scores=_golden())

    return store


def _golden() -> list[float]:
    """The scores that the tiny model gives, so that nothing but what the module does can refuse it."""
    from bundle.columns import raw_columns
    from bundle.scorer import Scorer

    manifest = Manifest(signature=SIGNATURE, features_function="features", files=dict.fromkeys("abcd", ""))
    scorer = Scorer(manifest, {MODEL: graph(), FEATURES: FEATURES_SOURCE.encode()})
    return [float(score) for score in scorer.score(raw_columns(ROWS, SIGNATURE.raw))[1]]


def manifest_of(change: Callable[[dict[str, Any], Bait], None]) -> Maker:
    """A good version whose manifest was changed."""

    def store(bait: Bait) -> str:
        manifest = json.loads(bait.blobs.get(make_version(bait.blobs)))
        change(manifest, bait)
        return bait.blobs.put(json.dumps(manifest).encode())

    return store


def _names_a_path(manifest: dict[str, Any], bait: Bait) -> None:
    manifest["files"][f"../../../..{bait.canary}"] = digest_of(bait.canary.name.encode())


def _names_an_absolute_path(manifest: dict[str, Any], bait: Bait) -> None:
    manifest["files"][MODEL] = str(bait.canary)


def _names_a_path_as_digest(manifest: dict[str, Any], bait: Bait) -> None:
    manifest["files"][FEATURES] = os.path.relpath(bait.canary, bait.cache.path("0" * 64).parent)


def _names_another_file(manifest: dict[str, Any], _: Bait) -> None:
    manifest["files"][MODEL] = manifest["files"][REFERENCE]


def _lacks_the_graph(manifest: dict[str, Any], _: Bait) -> None:
    manifest["files"]["other.onnx"] = manifest["files"].pop(MODEL)


def _names_another_model(manifest: dict[str, Any], _: Bait) -> None:
    manifest["signature"]["model"] = "default/other"


def _golden_is(data: bytes | None) -> Maker:
    def change(manifest: dict[str, Any], bait: Bait) -> None:
        manifest["files"][GOLDEN] = bait.blobs.put(_pickle(bait) if data is None else data)

    return manifest_of(change)


def _wrong_bytes(bait: Bait) -> str:
    digest = make_version(bait.blobs, 0.125)
    bait.control.lies[Manifest.read(bait.blobs, digest).files[MODEL]] = graph(0.5)
    return digest


def _planted(link: Callable[[Path, Path], None], served: bytes) -> Maker:
    """A version whose graph lies in serving's own cache already, as a link to the canary."""

    def store(bait: Bait) -> str:
        digest = make_version(bait.blobs, model=graph(served[0] / 100), golden_scores=ANY_SCORES)
        place = bait.cache.path(Manifest.read(bait.blobs, digest).files[MODEL])
        place.parent.mkdir(parents=True, exist_ok=True)
        link(place, bait.canary)
        return digest

    return store


def _symlink(place: Path, canary: Path) -> None:
    place.symlink_to(canary)


_SOCKET = "import socket; s = socket.socket(); s.connect(('127.0.0.1', PORT)); s.send(b'here')"


ARTEFACTS: Final[dict[str, Maker]] = {
    "a pickle as the graph": model_bytes(_pickle),
    "a zipped pickle as the graph": model_bytes(_zip),
    "a tar with a symbolic link as the graph": model_bytes(lambda bait: _tar(bait, tarfile.SYMTYPE)),
    "a tar with a hard link as the graph": model_bytes(lambda bait: _tar(bait, tarfile.LNKTYPE)),
    "an empty graph": model_bytes(lambda _: b"\x08\x09"),
    "a truncated graph": model_bytes(lambda _: graph()[: len(graph()) // 2]),
    "random bytes": model_bytes(lambda _: bytes(range(256)) * 64),
    "external data, relative": model_bytes(lambda bait: _external(os.path.relpath(bait.canary))),
    "external data, absolute": model_bytes(lambda bait: _external(str(bait.canary))),
    "external data through a link": model_bytes(lambda bait: _external(f"{bait.canary}-link")),
    "external data through a hard link": model_bytes(lambda bait: _external(f"{bait.canary}-hard")),
    "external data in a function": model_bytes(lambda bait: _external_in_a_function(str(bait.canary))),
    "a custom operator": model_bytes(lambda _: _changed(_custom_op)),
    "a custom operator within": model_bytes(lambda _: _changed(_custom_op_within)),
    "functions 3,000 deep": model_bytes(lambda _: function_chain(3_000)),
    "functions that swell to 2^60 nodes": model_bytes(lambda _: function_chain(60, calls=2)),
    "functions that call themselves": model_bytes(lambda _: function_chain(5, last="F2")),
    "graphs 5,000 deep": model_bytes(lambda _: _deep_graphs(5_000)),
    "a tensor of 2^62 values": model_bytes(lambda _: _changed(_large_dims)),
    "a tensor of a negative size": model_bytes(lambda _: _changed(_negative_dims)),
    "a constant of 4 TiB": model_bytes(lambda _: _changed(_swelling_constant)),
    "a manifest that is a pickle": lambda bait: bait.blobs.put(_pickle(bait)),
    "a manifest with a path for a name": manifest_of(_names_a_path),
    "a manifest with a path for a digest": manifest_of(_names_an_absolute_path),
    "a manifest with a relative path for a digest": manifest_of(_names_a_path_as_digest),
    "a manifest that names another file": manifest_of(_names_another_file),
    "a manifest without a graph": manifest_of(_lacks_the_graph),
    "a manifest of another model": manifest_of(_names_another_model),
    "golden rows that do not fit": _golden_is(json.dumps({"rows": ROWS, "scores": ANY_SCORES}).encode()),
    "golden rows 100,000 deep": _golden_is(b"[" * 100_000),
    "golden rows that are a pickle": _golden_is(None),
    "no golden rows": _golden_is(b'{"rows": [], "scores": []}'),
    "other bytes than the digest names": _wrong_bytes,
    "a link in the cache": _planted(_symlink, b"\x07"),
    "a module that ends the process": recipe("raise SystemExit(0)"),
    "a module that ends it at once": recipe("import os; print('{}'); os._exit(0)"),
    "a module that crashes": recipe("import ctypes; ctypes.string_at(0)"),
    "a module that forks": recipe("import os; os.fork() or os._exit(0)"),
    "a module that forks in silence": recipe("import os\ntry: os.fork()\nexcept OSError: pass"),
    "a module that starts a shell": recipe("import os; os.system('cat ' + CANARY)"),
    "a module that reads a file": recipe("open(CANARY).read()"),
    "a module that reads a file in silence": recipe("try: open(CANARY).read()\nexcept OSError: pass"),
    "a module that reads by machine code": recipe(
        "import ctypes; libc = ctypes.CDLL(None); fd = libc.open(CANARY.encode(), 0); assert fd < 0; raise OSError"
    ),
    "a module that writes a file": recipe("open(CANARY + '-written', 'w').write('x')"),
    "a module that writes by machine code": recipe(
        "import ctypes; libc = ctypes.CDLL(None); libc.creat((CANARY + '-written').encode(), 0o600); raise OSError"
    ),
    "a module that opens a socket": recipe(_SOCKET),
    "a module that opens a socket in silence": recipe(f"try:\n    {_SOCKET}\nexcept OSError: pass"),
    "a module that ends its parent": recipe("import os, signal; os.kill(os.getppid(), signal.SIGKILL)"),
    "a module that ends its parent by machine code": recipe(
        "import ctypes, os; ctypes.CDLL(None).kill(os.getppid(), 9); raise OSError"
    ),
    "a module that eats memory": recipe("x = [bytearray(1 << 30) for _ in range(64)]"),
    "a module that is no text": lambda bait: make_version_with(bait, b"\xff\xfe\x00"),
    "a module that never ends": recipe("import resource; resource.setrlimit(0, (1, 1))\nwhile True: pass"),
}  # fmt: skip


def make_version_with(bait: Bait, features: bytes) -> str:
    """A version whose feature module is these bytes."""
    manifest = json.loads(bait.blobs.get(make_version(bait.blobs)))
    manifest["files"][FEATURES] = bait.blobs.put(features)
    return bait.blobs.put(json.dumps(manifest).encode())
