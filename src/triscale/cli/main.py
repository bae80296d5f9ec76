"""`triscale VERB ...`: finds the verb, imports its file alone, and turns a user's mistake into one line."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol, cast

from triscale.cli.options import HelpShown, UsageError, nearest, parse_options

VERBS = {
    "list": "the zoo: every network with its params and macs",
    "describe": "one network's stage table, cost and memory",
    "scale": "the largest network inside a budget, or at a given phi",
    "train": "a network from scratch, by the paper's recipe or another",
    "finetune": "a trained network, taught the classes of your images",
    "study": "ways to scale, compared at equal multiply-adds",
    "search coefficients": "alpha, beta and gamma for your baseline and images",
    "search baseline": "a baseline for a number of multiply-adds",
    "benchmark inference": "networks and engines beside each other on the CPU",
    "benchmark table4": "the paper's latencies, and this machine's",
    "benchmark train": "how fast this machine trains, and what is the limit",
    "evaluate": "accuracies with intervals, calibration, the hard classes",
    "predict": "labels with probabilities for images",
    "explain": "where in images a network found what it says",
    "report": "a run's page, written anew from its folder",
    "export": "files for other programs: ONNX, OpenVINO, C, int8",
    "convert": "weights from and to timm, torchvision and others",
    "check": "broken, repeated and unbalanced images, before training",
    "demo": "the whole chain in minutes, on real photographs",
}
"""Each verb is a row here and a file beside this one, with _ between two words."""

MISTAKE, BROKEN_PIPE, INTERRUPTED = 2, 141, 130
"""Exit codes; the last two are what a shell reports for a process ended by the same signal."""

EXAMPLES = (
    "triscale describe efficientnet-b0",
    "triscale scale efficientnet-b0 --macs 1.2G -o b0-1.2g.json",
    "triscale predict photo.jpg --model efficientnet-lite0",
    "triscale finetune photos/",
)


class Verb(Protocol):
    """What a verb's file holds."""

    Options: type
    """A dataclass whose docstring is the help's description."""
    EXAMPLE: str
    """Command lines that the help ends with."""

    def run(self, options: Any) -> int | None:
        """Do it and return the exit code, None for 0; ValueError and OSError become one line on stderr."""


def overview() -> str:
    """What `triscale` alone prints."""
    width = max(map(len, VERBS)) + 2
    return "\n".join(
        [
            "Triscale turns a resource budget into a convolutional network.",
            "",
            "usage: triscale VERB ...",
            "",
            *(f"  {verb:{width}}{purpose}" for verb, purpose in VERBS.items()),
            "",
            "start here:",
            *(f"  {example}" for example in EXAMPLES),
            "",
            "`triscale VERB --help` explains a verb, `triscale --version` names this release.",
        ]
    )


def _version() -> str:
    import triscale

    return f"triscale {triscale.__version__}"


def _verb(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The verb, of one word or two, and the words behind it; raises HelpShown where help on both words was asked."""
    two = " ".join(words[:2])
    if two in VERBS:
        return two, words[2:]
    seconds = [verb.split()[1] for verb in VERBS if verb.startswith(f"{words[0]} ")]
    if seconds and words[1:2] in (["-h"], ["--help"]):
        print("\n".join(f"triscale {words[0]} {second:14}{VERBS[f'{words[0]} {second}']}" for second in seconds))
        raise HelpShown
    if seconds:
        given = f", not {words[1]}" if len(words) > 1 else ""
        raise UsageError(f"{words[0]} what? {' or '.join(seconds)}{given}")
    return words[0], words[1:]


def _dispatch(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    try:
        verb, rest = _verb(words)
    except HelpShown:
        return 0
    if verb in ("-V", "--version"):
        print(_version())
        return 0
    if verb not in VERBS:
        first = dict.fromkeys(each.split()[0] for each in VERBS)
        what, valid = ("option", ["--help", "--version"]) if verb.startswith("-") else ("verb", list(first))
        raise UsageError(f"unknown {what} {verb}; {nearest(verb, valid)}")
    module = cast(Verb, importlib.import_module(f"triscale.cli.{verb.replace(' ', '_')}"))
    try:
        options: object = parse_options(module.Options, verb, rest, example=module.EXAMPLE)
    except HelpShown:
        return 0
    return module.run(options) or 0


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _complain(words: Sequence[str], line: str) -> None:
    verbs = (" ".join(words[:count]) for count in (2, 1))
    name = next((f"triscale {verb}" for verb in verbs if verb in VERBS), "triscale")
    print(f"{name}: {line}", file=sys.stderr)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    0: done. 1: done, and what `check` looks for was found. 2: a mistake of the user, told in one line on stderr.
    130: interrupted. 141: nobody reads the output any more. Anything else that is raised is a defect of ours and
    keeps its traceback.
    """
    words = sys.argv[1:] if words is None else words
    try:
        code = _dispatch(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more on its way out; give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        _complain(words, "interrupted")
        return INTERRUPTED
    except (ValueError, OSError) as error:
        _complain(words, _one_line(error))
        return MISTAKE
    return code
