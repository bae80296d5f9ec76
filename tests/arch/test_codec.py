"""JSON round trips are exact, and whatever is not a spec is refused in one line."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.strategies import network_specs
from triscale.arch import NetworkSpec, Preprocessing, get_network, network_names, read_spec, square
from triscale.arch.codec import LARGEST_FILE, decode, encode, spec_from_json, spec_to_json

B0 = get_network("efficientnet-b0")


@pytest.mark.parametrize("name", network_names())
def test_zoo_round_trip(name: str) -> None:
    spec = get_network(name)
    assert spec_from_json(spec_to_json(spec)) == spec
    assert spec_from_json(spec_to_json(spec, indent=None)) == spec


@settings(max_examples=200, deadline=None)
@given(network_specs())
def test_random_round_trip(spec: NetworkSpec) -> None:
    text = spec_to_json(spec)
    assert spec_from_json(text) == spec
    assert spec_to_json(spec_from_json(text)) == text


def test_preprocessing_round_trip() -> None:
    preprocessing = Preprocessing(square(224), crop=0.1 + 0.2, antialias=False)
    assert decode(Preprocessing, json.loads(json.dumps(encode(preprocessing)))) == preprocessing


def changed(path: list[Any], value: Any) -> str:
    data = json.loads(spec_to_json(B0))
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["resolutoin"], 1, "unknown key 'resolutoin'; did you mean 'resolution'?"),
        (["zzz"], 1, "unknown key 'zzz'; valid keys: name, "),
        (["stages", 3, "kernl"], 3, r"spec\.stages\[3\]: unknown key 'kernl'; did you mean 'kernel'"),
        (["stages", 3, "kernel"], 4, r"spec\.stages\[3\]: kernel must be odd, got 4"),
        (["stages", 3, "kernel"], 3.5, r"stages\[3\]\.kernel must be a whole number, got the number 3\.5"),
        (["stages", 3, "kernel"], True, "must be a whole number, got true or false"),
        (["stages", 3, "operator"], "mbcov", "unknown operator 'mbcov'; did you mean 'mbconv'"),
        (["stages", 3, "operator"], ["mbconv"], "unknown operator"),
        (["activation"], "tanh", "unknown activation 'tanh'; valid: silu, relu, relu6"),
        (["stages"], {}, "stages must be an array, got an object"),
        (["stages", 0], None, r"stages\[0\] must be an object, got null"),
        (["resolution"], [224], "must hold height and width, got 1 values"),
        (["resolution"], 224, "must be an array"),
        (["dropout"], "a lot", "dropout must be a number, got text"),
        (["name"], 5, "name must be text"),
        (["version"], 99, "spec version 99, this Triscale reads 1"),
        (["format"], "other", "is no Triscale spec"),
    ],
)
def test_wrong_values_are_named(path: list[Any], value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec_from_json(changed(path, value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[]", "is no Triscale spec"),
        ('{"format": "triscale-spec", "format": "x"}', "key 'format' appears twice"),
        ('{"format": "triscale-spec", "version": 1, "dropout": NaN}', "NaN is no number"),
        ('{"format": "triscale-spec", "version": 1}', "missing name, resolution, stages"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_spec(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec_from_json(text)


def test_files_name_themselves(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(spec_to_json(B0))
    assert read_spec(path) == B0
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"net\.json is not UTF-8"):
        read_spec(path)
    path.write_bytes(b" " * (LARGEST_FILE + 1))
    with pytest.raises(ValueError, match="a spec at most"):
        read_spec(path)


def outcome(text: str) -> str:
    try:
        return spec_from_json(text).name
    except ValueError as error:
        return str(error)


def test_damaged_text_never_raises_anything_else() -> None:
    good = spec_to_json(B0, indent=None)
    generator = random.Random(0)
    for _ in range(2000):
        characters = list(good)
        for _ in range(generator.randint(1, 6)):
            characters[generator.randrange(len(characters))] = chr(generator.randrange(32, 127))
        assert "\n" not in outcome("".join(characters))
        assert "\n" not in outcome(good[: generator.randrange(len(good))])
