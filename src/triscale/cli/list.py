"""`triscale list`: the zoo."""

import re
from dataclasses import dataclass
from itertools import groupby

from triscale.arch import NetworkSpec, get_network, network_names
from triscale.cli.options import json_option, nearest, positional
from triscale.cli.output import print_json, print_table, table
from triscale.cli.released import TAGS, release_names
from triscale.cost import network_cost
from triscale.scaling.quantities import format_quantity

EXAMPLE = """triscale list
triscale list lite
triscale list v2 --json"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The networks of the zoo, family by family, with what they cost.

    Params are exact, multiply-adds (macs) are those of one image at the resolution shown. Where the last column
    says yes, trained weights have the same name; further ones have the name, a dot and what follows.
    """

    text: tuple[str, ...] = positional("TEXT", "show names that contain any of these", default=())
    json: bool = json_option()


def family(name: str) -> str:
    """The family of a zoo name: `efficientnet-lite` of `efficientnet-lite0`."""
    match = re.match(r"[a-z]+?(?:v\d)?(?:-lite|-edgetpu)?(?=[\d-]|$)", name)
    assert match is not None
    return match[0]


def find_names(texts: tuple[str, ...]) -> list[str]:
    """Zoo names that contain any of `texts`, all without one.

    Raises ValueError where there is none, with the nearest names.
    """
    wanted = [text.lower().replace("_", "-") for text in texts]
    found = [name for name in network_names() if not wanted or any(text in name for text in wanted)]
    if not found:
        hint = nearest(wanted[0], list(dict.fromkeys(map(family, network_names()))))
        raise ValueError(f"no network's name contains {' or '.join(texts)}; {hint}")
    return found


def _row(spec: NetworkSpec) -> dict[str, object]:
    cost = network_cost(spec)
    return {
        "name": spec.name,
        "family": family(spec.name),
        "params": cost.params,
        "macs": cost.macs,
        "resolution": list(spec.resolution),
        "weights": list(release_names(spec.name)),
    }


def run(options: Options) -> None:
    """Print the zoo, or the part of it that was asked for."""
    specs = [get_network(name) for name in find_names(options.text)]
    if options.json:
        print_json([_row(spec) for spec in specs])
        return
    made = table("network", "params", "macs", "resolution", "weights")
    made.columns[-1].justify = "left"
    for _, members in groupby(specs, key=lambda spec: family(spec.name)):
        for spec in members:
            cost = network_cost(spec)
            weights = ", ".join(tag or "yes" for tag in TAGS.get(spec.name, ()))
            made.add_row(
                spec.name, format_quantity(cost.params), format_quantity(cost.macs), str(spec.resolution), weights
            )
        made.add_section()
    print_table(made)
