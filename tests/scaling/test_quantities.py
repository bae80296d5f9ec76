"""Amounts as text."""

import pytest
from hypothesis import given, strategies as st

from triscale.scaling import Unit, format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.8G", 1_800_000_000),
        ("1.8B", 1_800_000_000),
        ("400M", 400_000_000),
        ("5.3m", 5_300_000),
        (" 12 k ", 12_000),
        ("2T", 2 * 10**12),
        ("1e9", 10**9),
        ("1.5E3", 1500),
        ("1e-3G", 10**6),
        ("390_000_000", 390_000_000),
        ("385814752", 385_814_752),
        ("1.0000000007G", 1_000_000_000),
        ("0.1G", 100_000_000),
    ],
)
def test_counts(text: str, value: int) -> None:
    assert parse_quantity(text) == value
    assert type(parse_quantity(text)) is int


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2GiB", 2 << 30),
        ("512MiB", 512 << 20),
        ("1.5 kib", 1536),
        ("1TiB", 1 << 40),
        ("1GB", 10**9),
        ("1kB", 1000),
        ("4096B", 4096),
        ("4096", 4096),
    ],
)
def test_bytes(text: str, value: int) -> None:
    assert parse_quantity(text, Unit.BYTES) == value
    assert type(parse_quantity(text, Unit.BYTES)) is int


@pytest.mark.parametrize(
    ("text", "value"), [("20ms", 20), ("0.02s", 20), ("150us", 0.15), ("150µs", 0.15), ("150μs", 0.15), ("1 S", 1000)]
)
def test_milliseconds(text: str, value: float) -> None:
    assert parse_quantity(text, Unit.MILLISECONDS) == value


@pytest.mark.parametrize(
    ("text", "unit", "message"),
    [
        ("", Unit.COUNT, "'' is no number of multiply-adds or parameters; write it like 1.8G, 400M"),
        ("lots", Unit.COUNT, "is no number"),
        ("1.2.3G", Unit.COUNT, "is no number"),
        ("-1G", Unit.COUNT, "is no number"),
        ("nan", Unit.COUNT, "is no number"),
        ("inf", Unit.COUNT, "is no number"),
        ("1,8G", Unit.COUNT, "is no number"),
        ("1GiB", Unit.COUNT, "is no number"),
        ("1.8 G macs", Unit.COUNT, "is no number"),
        ("_", Unit.COUNT, "is no number"),
        ("0", Unit.COUNT, "'0' is out of range"),
        ("0.5", Unit.COUNT, "out of range"),
        ("1e99", Unit.COUNT, "out of range"),
        ("1e999999999999999999", Unit.COUNT, "is no number|out of range"),
        ("2G", Unit.BYTES, "is no number of bytes; write it like 2GiB, 512MiB, 1GB or 1073741824"),
        ("0GiB", Unit.BYTES, "out of range"),
        ("20", Unit.MILLISECONDS, "is no number of milliseconds; write it like 20ms, 0.02s or 150us"),
        ("20min", Unit.MILLISECONDS, "is no number"),
        ("0ms", Unit.MILLISECONDS, "out of range"),
    ],
)
def test_refused(text: str, unit: Unit, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_quantity(text, unit)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (7, Unit.COUNT, "7"),
        (999, Unit.COUNT, "999"),
        (5_288_548, Unit.COUNT, "5.29M"),
        (385_814_752, Unit.COUNT, "386M"),
        (999_499_999, Unit.COUNT, "999M"),
        (999_500_000, Unit.COUNT, "1G"),
        (1_800_000_000, Unit.COUNT, "1.8G"),
        (1_827_141_392, Unit.COUNT, "1.83G"),
        (37_745_884_192, Unit.COUNT, "37.7G"),
        (475_703_653_280, Unit.COUNT, "476G"),
        (2 << 30, Unit.BYTES, "2GiB"),
        (1000, Unit.BYTES, "0.977KiB"),
        (512 << 20, Unit.BYTES, "512MiB"),
        (20, Unit.MILLISECONDS, "20ms"),
        (0.15, Unit.MILLISECONDS, "150us"),
        (1234.5, Unit.MILLISECONDS, "1.23s"),
    ],
)
def test_format(value: float, unit: Unit, text: str) -> None:
    assert format_quantity(value, unit) == text


@given(st.integers(1, 10**15))
def test_what_is_printed_can_be_typed(value: int) -> None:
    for unit in (Unit.COUNT, Unit.BYTES):
        text = format_quantity(value, unit)
        assert parse_quantity(text, unit) == pytest.approx(value, rel=0.00502, abs=1)
        assert format_quantity(parse_quantity(text, unit), unit) == text


@given(st.floats(1e-2, 1e6))
def test_times_too(value: float) -> None:
    text = format_quantity(value, Unit.MILLISECONDS)
    assert parse_quantity(text, Unit.MILLISECONDS) == pytest.approx(value, rel=0.00502)
