"""Reading results.json. What is damaged or of another version is refused, never shown in part."""

from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, Final

from triscale.arch.codec import decode, parse_json, unknown_key
from triscale.report.search.records import Kind, SearchResults, Trial
from triscale.report.search.summaries import BaselineSearch, CoefficientSearch, Study

FILE: Final = "results.json"
FORMAT: Final = "triscale-search"
VERSION: Final = 1
LARGEST: Final = 256 << 20
"""Bytes."""
LARGEST_NUMBER: Final = 1e18
"""Beyond it nothing that a search counts or measures can lie."""
SUMMARIES: Final = {
    Kind.COEFFICIENTS: CoefficientSearch,
    Kind.BASELINE: BaselineSearch,
    Kind.STUDY: Study,
}


def read_results(path: Path) -> SearchResults:
    """The results that a search wrote.

    Raises ValueError, in one line, for a file that is missing, of something else, of another version or damaged.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name the {FILE} in it")
    if not path.is_file():
        raise ValueError(f"there is no {path}; name the {FILE} that a search or a study wrote")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST >> 20} MiB, too large for the results of a search")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text, so it holds no results of a search") from None
    data = parse_json(text, where=str(path))
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f'{path} holds no results of a search: it lacks "format": "{FORMAT}"')
    if data.get("version") != VERSION:
        raise ValueError(
            f"{path} has version {str(data.get('version'))[:20]}, this Triscale reads {VERSION}; "
            "update the older of the two"
        )
    body = {key: value for key, value in data.items() if key not in ("format", "version")}
    _check_numbers(body, str(path))
    return _results(body, str(path))


def _results(body: dict[str, Any], where: str) -> SearchResults:
    _check_keys(body, where)
    kind = body["kind"]
    if kind not in list(Kind):
        raise ValueError(f"{where}: kind must be one of {', '.join(Kind)}, got {str(kind)[:40]!r}")
    if not isinstance(body["trials"], list):
        raise ValueError(f"{where}: trials must be an array")
    if not isinstance(body["complete"], bool):
        raise ValueError(f"{where}: complete must be true or false")
    versions = body["versions"]
    if not isinstance(versions, dict) or not all(isinstance(value, str) for value in versions.values()):
        raise ValueError(f"{where}: versions must be an object of texts")
    texts = {name: body[name] for name in ("command", "data", "baseline", "machine", "date", "executor")}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise ValueError(f"{where}: {name} must be text")
    return SearchResults(
        kind=Kind(kind),
        versions=versions,
        training_hours=_number(body["training_hours"], f"{where}: training_hours"),
        complete=body["complete"],
        planned=_count(body.get("planned"), f"{where}: planned"),
        trials=tuple(_trial(each, f"{where}: trials[{index}]") for index, each in enumerate(body["trials"])),
        summary=decode(SUMMARIES[Kind(kind)], body["summary"], where=f"{where}: summary"),
        **texts,
    )


def _check_keys(body: dict[str, Any], where: str) -> None:
    known = {field.name: field.default is MISSING for field in fields(SearchResults)}
    for key in body:
        if key not in known:
            raise unknown_key(key, list(known), where)
    if missing := [name for name, required in known.items() if required and name not in body]:
        raise ValueError(f"{where}: missing {', '.join(missing)}")


def _trial(data: Any, where: str) -> Trial:
    """`decode` knows no free-form objects, so the parameters go past it."""
    if not isinstance(data, dict) or not isinstance(params := data.get("params"), dict):
        raise ValueError(f"{where} must be an object with an object of params")
    if not all(isinstance(value, str | int | float | bool) for value in params.values()):
        raise ValueError(f"{where}.params must hold texts, numbers, true and false")
    rest = {key: value for key, value in data.items() if key != "params"}
    return replace(decode(Trial, rest, where=where), params=params)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"{where} must be a number, 0 or more")
    return float(value)


def _count(value: Any, where: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError(f"{where} must be a whole number, 0 or more, or null")
    return value


def _check_numbers(value: Any, where: str) -> None:
    """JSON can write 1e999, which no axis holds."""
    if isinstance(value, dict):
        for key, each in value.items():
            _check_numbers(each, f"{where}: {key}" if ": " not in where else f"{where}.{key}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            _check_numbers(each, f"{where}[{index}]")
    elif isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
        raise ValueError(f"{where} is beyond what a search can measure")
