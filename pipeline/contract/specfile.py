"""Reads a recipe folder: model.yaml, with file, line and field in each error, and the code that it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from pipeline.contract.spec import ModelSpec

SPEC_FILE: Final = "model.yaml"


class _Loader(yaml.SafeLoader):
    """A safe loader for which 18:00 is a text. YAML 1.1 reads it as a number to the base of sixty."""


#: how numbers are written, in the form of YAML 1.1 but without those of colons
_NUMBERS: Final = {
    "tag:yaml.org,2002:int": r"[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+",
    "tag:yaml.org,2002:float": (
        r"[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, re.compile(rf"^(?:{_NUMBERS[tag]})$") if tag in _NUMBERS else form) for tag, form in resolvers]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class SpecInvalid(ValueError):
    """The spec cannot be used. One line for each problem: file:line: field: what is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_recipe(folder: Path) -> tuple[ModelSpec, dict[str, str]]:
    """The spec of a recipe folder and its Python files, name to source. Raises SpecInvalid."""
    path = folder / SPEC_FILE
    if not path.is_file():
        raise SpecInvalid([f"{path}: no such file: a recipe is a folder with a {SPEC_FILE}"])
    spec = parse_spec(_text(path), str(path))
    sources = {file.name: _text(file) for file in sorted(folder.glob("*.py"))}
    entries = (spec.entry.features, spec.entry.pipeline) if spec.entry is not None else ()
    named = {entry.partition(":")[0] for entry in entries}
    missing = sorted(named - set(sources))
    if missing:
        raise SpecInvalid([f"{path}: entry: there is no {name} beside the spec" for name in missing])
    return spec, sources


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecInvalid([f"{path}: not UTF-8 text: {error.reason} at byte {error.start}"]) from error


def read_yaml(text: str) -> Any:  # noqa: ANN401 - whatever the text holds
    """What a YAML text holds, as a spec is read: 18:00 is a text. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader that reads fewer numbers


def parse_spec(text: str, name: str) -> ModelSpec:
    """The spec in a YAML text; `name` stands for the file in errors. Raises SpecInvalid."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        data = read_yaml(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecInvalid([f"{name}:{line}: not YAML: {error.problem}"]) from error
    except yaml.YAMLError as error:
        raise SpecInvalid([f"{name}:1: not YAML: {str(error).splitlines()[0]}"]) from error
    if not isinstance(data, dict):
        raise SpecInvalid([f"{name}:1: expected a mapping with model, task, source, ..."])
    try:
        return ModelSpec.model_validate(data)
    except ValidationError as error:
        raise SpecInvalid([_problem(name, node, problem) for problem in error.errors()]) from error


def _problem(name: str, node: yaml.Node | None, problem: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    line, field = _locate(node, problem["loc"])
    return f"{name}:{line}: {field or 'spec'}: {problem['msg'].removeprefix('Value error, ')}"


def _locate(node: yaml.Node | None, location: tuple[int | str, ...]) -> tuple[int, str]:
    """The line and the dotted field of an error; parts that name no key (a union's tag) are passed over."""
    line = node.start_mark.line + 1 if node else 1
    field: list[str] = []
    for part in location:
        step = _step(node, part)
        if step is None:
            if not field or (isinstance(node, yaml.MappingNode) and part == location[-1]):
                field.append(str(part))
            continue
        line, node = step
        field.append(str(part))
    return line, ".".join(field)


def _step(node: yaml.Node | None, part: int | str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None
