"""`triscale finetune --probe`: a classifier on the features of a network that stays as it is."""

import json as json_format
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from triscale.cli.output import print_pairs
from triscale.cli.progress import bars
from triscale.cli.run_options import RunOptions
from triscale.cli.run_page import finish_page
from triscale.cli.train_end import FIGURES, PAGE

if TYPE_CHECKING:
    from triscale.data.dataset import Splits
    from triscale.models.files import Model
    from triscale.train.recipe import Recipe
    from triscale.train.run_folder import DataSource
    from triscale.transfer.probe import Outcome

TITLES = {"features": "computing features", "head": "fitting the classifier", "validation": "judging"}


def run_probe(
    options: RunOptions,
    recipe: "Recipe",
    data: "Splits",
    model: "Model",
    source: "DataSource",
    *,
    path: Path,
) -> None:
    """Fit, judge and write the model into the folder `path`, and say how good it is."""
    from importlib.metadata import version

    from triscale import __version__
    from triscale.models.files import save_model
    from triscale.train.recipe import Balance
    from triscale.train.run_folder import RunFolder
    from triscale.transfer.probe import probe

    folder, started_s = RunFolder(path), time.monotonic()
    with folder.locked():
        folder.claim(source)
        with bars(TITLES) as watch:
            found = probe(
                model,
                data,
                balance=Balance.NONE if recipe.balance is Balance.NONE else Balance.WEIGHTS,
                seed=recipe.seed,
                workers=options.workers or None,
                watch=watch,
            )
        card = found.model.card
        made = {"data": source.name, "triscale": __version__, "torch": version("torch")}
        save_model(folder.model, found.model.network, replace(card, provenance={**card.provenance, **made}))
        elapsed_s = time.monotonic() - started_s
        if not options.no_report:
            finish_page(
                path, data.validation, data=source.name, verb="finetune", metric=recipe.metric, workers=options.workers
            )
    _tell(found, folder.model, elapsed_s=elapsed_s, json=options.json)


def _tell(found: "Outcome", path: Path, *, elapsed_s: float, json: bool) -> None:
    broken = [*found.train.broken, *found.validation.broken]
    if json:
        row = {
            "model": str(path),
            **{f"validation_{name}": value for name, value in found.scores.items()},
            "validation_images": len(found.validation.labels),
            "cross_validated": found.head.score,
            "regularisation": found.head.regularisation,
            "broken_images": [name for name, _ in broken],
            "engine": found.train.engine,
            "elapsed_s": round(elapsed_s, 2),
        }
        print(json_format.dumps(row, ensure_ascii=False))
        return
    scores = ", ".join(f"{FIGURES[name]} {value:.2%}" for name, value in found.scores.items())
    pairs = [("validation", f"{scores} on {len(found.validation.labels):,} images")]
    if found.head.score is not None:
        held_out = f"{found.head.score:.2%} of the {len(found.train.labels):,} training images, held out in turn"
        pairs.append(("cross-validated", held_out))
    pairs += [("broken image", f"{name}: {reason}") for name, reason in broken]
    pairs += [("time", f"{elapsed_s:.1f} s, features by the {found.train.engine} engine"), ("model", str(path))]
    if (page := path.parent / PAGE).exists():
        pairs.append(("page", str(page)))
    pairs += [
        ("next", f"triscale predict IMAGE --model {shlex.quote(str(path))}"),
    ]
    print_pairs(pairs)
