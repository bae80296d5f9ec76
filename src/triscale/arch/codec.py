"""JSON for frozen dataclasses, with exact round trips: specs, preprocessing and whatever is described as data.

Every value is written, defaults too, so that a file keeps its meaning when a default changes. Reading refuses unknown
keys by name, wrong types and repeated keys.
"""

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from triscale.arch.spec import NetworkSpec

T = TypeVar("T")

FORMAT = "triscale-spec"
VERSION = 1
LARGEST_FILE = 4 << 20
"""Bytes; the largest published network's spec takes 5 kB."""


def encode(value: Any) -> Any:
    """`value` as JSON types: dataclasses become objects, named tuples and tuples arrays, enums their names."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    return value.value if isinstance(value, StrEnum) else value


def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value)) or f"the number {_short(value)}"


def _short(value: object) -> str:
    """`value` as a message can hold it: a hostile file may write megabytes where a word belongs."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _decode_enum(kind: type[StrEnum], value: Any, where: str) -> StrEnum:
    valid = [member.value for member in kind]
    if value not in valid:
        near = difflib.get_close_matches(_short(value).strip("'"), valid, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "valid: " + ", ".join(valid)
        raise ValueError(f"{where}: unknown {kind.__name__.lower()} {_short(value)}; {hint}")
    return kind(value)


def _decode_tuple(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, list):
        raise ValueError(f"{where} must be an array, got {_kind(value)}")
    if hasattr(kind, "_fields"):
        names = kind._fields
        if len(value) != len(names):
            raise ValueError(f"{where} must hold {' and '.join(names)}, got {len(value)} values")
        return kind(*(_decode(_hints(kind)[n], v, f"{where}.{n}") for n, v in zip(names, value, strict=True)))
    item = get_args(kind)[0]
    return tuple(_decode(item, entry, f"{where}[{index}]") for index, entry in enumerate(value))


def _decode_scalar(kind: type, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{where} is beyond what a number can hold") from None
    if type(value) is not kind:
        names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
        raise ValueError(f"{where} must be {names[kind]}, got {_kind(value)}")
    return value


def _decode(kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) in (types.UnionType, typing.Union):
        if value is None:
            return None
        (kind,) = (option for option in get_args(kind) if option is not type(None))
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        return decode(kind, value, where=where)
    if get_origin(kind) is tuple or (isinstance(kind, type) and issubclass(kind, tuple)):
        return _decode_tuple(kind, value, where)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _decode_enum(kind, value, where)
    return _decode_scalar(kind, value, where)


def unknown_key(key: str, valid: list[str], where: str) -> ValueError:
    """The error for a key that `where` does not have, with the nearest valid one."""
    near = difflib.get_close_matches(key[:60], valid, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "valid keys: " + ", ".join(valid)
    return ValueError(f"{where}: unknown key {_short(key)}; {hint}")


def decode(kind: type[T], data: Any, *, where: str = "") -> T:
    """A `kind` (a dataclass) from what `encode` wrote.

    Raises ValueError, naming the place, for unknown or missing keys, wrong types and whatever `kind` itself refuses.
    """
    where = where or kind.__name__
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} must be an object, got {_kind(data)}")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise unknown_key(key, list(fields), where)
    required = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing := [name for name in required if name not in data]:
        raise ValueError(f"{where}: missing {', '.join(missing)}")
    hints = _hints(kind)
    values = {name: _decode(hints[name], value, f"{where}.{name}") for name, value in data.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} appears twice")
    return data


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number that JSON knows")


def parse_json(text: str, *, where: str) -> Any:
    """Strict JSON: repeated keys, NaN and endless nesting are refused with one line that names `where`."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON: {error}") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    except RecursionError:
        raise ValueError(f"{where} is nested too deeply") from None


def spec_to_json(spec: NetworkSpec, *, indent: int | None = 2) -> str:
    """The spec file's text."""
    return json.dumps({"format": FORMAT, "version": VERSION, **encode(spec)}, indent=indent, allow_nan=False)


def spec_from_json(text: str, *, where: str = "spec") -> NetworkSpec:
    """The spec that `spec_to_json` wrote.

    Raises ValueError for another format, a newer version, or anything `decode` refuses; `where` names the source.
    """
    data = parse_json(text, where=where)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f'{where} is no Triscale spec: it lacks "format": "{FORMAT}"')
    version = data.get("version")
    if version != VERSION:
        raise ValueError(f"{where} has spec version {version}, this Triscale reads {VERSION}; update the newer side")
    body = {key: value for key, value in data.items() if key not in ("format", "version")}
    return decode(NetworkSpec, body, where=where)


def read_spec(path: Path) -> NetworkSpec:
    """The spec in a `.json` file."""
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, a spec at most {LARGEST_FILE}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text, so it is no spec") from None
    return spec_from_json(text, where=str(path))
