from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from triscale.arch import Resolution
from triscale.cli.options import HelpShown, UsageError, json_option, option, parse_options, positional


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def parse_even(word: str) -> int:
    if int(word) % 2:
        raise ValueError(f"{word} is odd")
    return int(word)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Paint files.

    At 100% coverage.
    """

    files: tuple[Path, ...] = positional("FILE", "what to paint")
    colour: Colour | None = option("which colour", metavar="COLOUR")
    coats: int = option("how many", metavar="N", default=2)
    strength: float | None = option("how strong, 100% by default", metavar="X", short="-s")
    size: Resolution | None = option("how large", metavar="HxW")
    even: int | None = option("an even number", metavar="N", parse=parse_even)
    brushes: tuple[int, ...] = option("sizes of brushes", metavar="N", default=(1, 2), short="-b")
    class_: str | None = option("of paint", metavar="NAME")
    dry_run: bool = option("paint nothing", default=False)
    json: bool = json_option()


def parse(*words: str) -> Options:
    return parse_options(Options, "paint", words, example="triscale paint wall.txt")


def test_defaults():
    assert parse("a", "b") == Options(files=(Path("a"), Path("b")))
    assert parse("a").brushes == (1, 2)


def test_every_kind_of_value():
    options = parse(
        *("--colour", "blue", "a", "--coats=3", "b", "-s", "-1.5", "--size", "240x320", "--even", "4"),
        *("c", "--dry-run", "--json", "--brushes", "5", "6", "--class", "lacquer", "-b", "7"),
    )
    assert options == Options(
        files=(Path("a"), Path("b"), Path("c")),
        colour=Colour.BLUE,
        coats=3,
        strength=-1.5,
        size=Resolution(240, 320),
        even=4,
        brushes=(5, 6, 7),
        class_="lacquer",
        dry_run=True,
        json=True,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "the following arguments are required: FILE"),
        (("a", "--color", "red"), "unknown option --color; did you mean --colour?"),
        (("a", "--color=red"), "unknown option --color; did you mean --colour?"),
        (("a", "--co", "red"), "unknown option --co; "),
        (("a", "--colour", "rad"), "--colour: 'rad' is unknown; did you mean red?"),
        (("a", "--colour"), "--colour: expected one argument"),
        (("a", "--coats", "2.5"), "--coats: '2.5' is no whole number"),
        (("a", "-s", "much"), "-s/--strength: 'much' is no number"),
        (("a", "--size", "240x"), "--size: '240x' is no resolution; write 240 or 240x320 (height by width)"),
        (("a", "--size", "0"), "--size: '0' is no resolution"),
        (("a", "--even", "3"), "--even: 3 is odd"),
        (("a", "--brushes"), "-b/--brushes: expected at least one argument"),
        (("a", "-b", "1", "wide"), "-b/--brushes: 'wide' is no whole number"),
        (("a", "--clas", "x"), "unknown option --clas; did you mean --class?"),
        (("a", "--class_", "x"), "unknown option --class_; did you mean --class?"),
        (
            ("--brushes", "3", "4"),
            "the following arguments are required: FILE; put them before --brushes, which takes all words up to the",
        ),
        (("a", "--dry-run=yes"), "--dry-run: ignored explicit argument 'yes'"),
    ],
)
def test_mistakes_are_told_in_one_line(words: tuple[str, ...], message: str):
    with pytest.raises(UsageError) as error:
        parse(*words)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_help_shows_every_field_and_fits_80_columns(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(HelpShown):
        parse("--help")
    text = capsys.readouterr().out
    assert text.startswith("usage: triscale paint FILE... [options]\n\nPaint files.\n\nAt 100% coverage.\n")
    assert text.endswith("example:\n  triscale paint wall.txt\n")
    for word in ("what to paint", "--colour COLOUR", "--strength X", "100% by default", "--json"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 80
