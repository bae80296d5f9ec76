"""`triscale convert`: weights from and to other libraries."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triscale.arch import NetworkSpec, Preprocessing, read_spec
from triscale.cli.options import json_option, nearest, option, positional
from triscale.cli.output import check_output, print_json, print_pairs
from triscale.scaling import Unit, format_quantity

if TYPE_CHECKING:
    from triscale.models import ModelCard
    from triscale.models.weights import Library
    from triscale.models.weights.convert import Found, Written

EXAMPLE = """triscale convert tf_efficientnet_b0.pth -o b0.safetensors
triscale convert resnet50.pth --like other.safetensors -o r50.safetensors
triscale convert efficientnet-lite0 --to efficientnet-pytorch -o lite0.pth"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Convert weights between Triscale's model files and the state dicts of other libraries.

    The library and the network of a source are found by its tensors. The file is read back after writing, and every
    tensor compared.
    """

    source: str = positional("SOURCE", "file of weights or of a model, or a name with released weights")
    output: Path | None = option("file to write", metavar="FILE", short="-o")
    to: str = option(
        "whose names to write: triscale (unless told otherwise), timm, torchvision, efficientnet-pytorch or keras",
        metavar="LIBRARY",
        default="triscale",
    )
    network: str | None = option(
        "the source's network where its tensors leave a choice: its library's name for it, or a spec file",
        metavar="NET",
    )
    like: str | None = option(
        "take preprocessing and class names from this model, where the source has none", metavar="M"
    )
    force: bool = option("overwrite the file", default=False)
    json: bool = json_option()


def find_library(name: str) -> "Library":
    """The library called `name`; ValueError with the nearest where there is none."""
    from triscale.models.weights import Library

    valid = [library.value for library in Library]
    if name not in valid:
        raise ValueError(f"no library is called {name!r}; {nearest(name, valid)}")
    return Library(name)


def _network(net: str | None) -> NetworkSpec | str | None:
    return read_spec(Path(net)) if net is not None and net.endswith(".json") else net


def _card(like: str | None) -> "ModelCard | None":
    if like is None:
        return None
    from triscale.models import read_description
    from triscale.models.weights import load

    path = Path(like)
    return read_description(path)[1] if path.is_file() else load(like).card


def _preprocessing(card: Preprocessing) -> str:
    mean, std = (", ".join(f"{value:.3g}" for value in values) for values in (card.mean, card.std))
    return f"{card.resolution}, crop {card.crop:.3g}, {card.interpolation}, mean {mean}, std {std}"


def _lines(found: "Found", written: "Written") -> Iterator[tuple[str, str]]:
    spec, card = found.model.network.spec, found.model.card
    params = sum(tensor.numel() for tensor in found.model.network.parameters())
    names = f" by its {found.library} names" if found.library.value != "triscale" else ""
    yield "found", f"{spec.name}{names}, {spec.classes} classes, {params:,} params"
    if found.card_is_assumed:
        yield "assumed", f"{_preprocessing(card.preprocessing)}; --like M takes them from a model"
    else:
        yield "images", _preprocessing(card.preprocessing)
    size = format_quantity(written.size_bytes, Unit.BYTES)
    ours = written.library.value == "triscale"
    what = "a model file" if ours else f"{written.library}'s {written.network}"
    yield "wrote", f"{written.path}, {size}: {what}"
    yield "verified", f"read back, all {written.tensors} tensors are equal"


def _report(found: "Found", written: "Written") -> dict[str, Any]:
    spec = found.model.network.spec
    return {
        "network": spec.name,
        "library": found.library.value,
        "classes": spec.classes,
        "input_channels": spec.input_channels,
        "preprocessing_assumed": found.card_is_assumed,
        "output": str(written.path),
        "output_library": written.library.value,
        "output_network": written.network,
        "tensors": written.tensors,
        "bytes": written.size_bytes,
    }


def run(options: Options) -> None:
    """Read, write, read back, and say what was found."""
    if options.output is None:
        raise ValueError("say which file to write: -o FILE")
    check_output(options.output, force=options.force)

    from triscale.models.weights.convert import check_target, find_model, write_model

    library = find_library(options.to)
    check_target(options.output, library)
    found = find_model(options.source, network=_network(options.network), card=_card(options.like))
    written = write_model(found.model, options.output, library)
    if options.json:
        print_json(_report(found, written))
    else:
        print_pairs(_lines(found, written))
