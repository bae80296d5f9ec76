"""`triscale predict`: labels with probabilities for images."""

import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from triscale.cli.options import option, positional
from triscale.cli.progress import watched

if TYPE_CHECKING:
    from triscale.deploy.predict import Prediction

EXAMPLE = """triscale predict photo.jpg --model efficientnet-lite0
triscale predict holiday/ 'scans/**/*.tif' --model model.safetensors --json
find . -name '*.jpg' -print0 | triscale predict - --model efficientnet-lite0"""


@dataclass(frozen=True, slots=True)
class Options:
    """Classify images with a trained network.

    Images are cropped, resized and normalised as the model was trained. A file that cannot be read is named on
    stderr and the rest go on; the exit code is 2 then.
    """

    images: tuple[str, ...] = positional("IMAGE", "files, folders, quoted patterns, or - for standard input")
    model: str = option(
        "model file, name with released weights, or hf-hub:owner/name", metavar="M", default="efficientnet-lite0"
    )
    top: int = option("labels an image", metavar="N", default=5)
    batch_size: int = option("images that pass the network together", metavar="N", default=16)
    json: bool = option("print one line of JSON an image", default=False)


def _print_text(prediction: "Prediction") -> None:
    print(prediction.path)
    for label in prediction.labels:
        print(f"  {label.probability:7.2%}  {label.name}")


def _print_json(prediction: "Prediction") -> None:
    import json

    data = asdict(prediction)
    print(json.dumps({key: value for key, value in data.items() if value not in (None, ())}, ensure_ascii=False))


def run(options: Options) -> None:
    """Print what the model says of every image, then complain of those that could not be read."""
    from triscale.data.find import find_images
    from triscale.deploy.predict import predict
    from triscale.deploy.usual import cores, usual_engine
    from triscale.models.weights import load

    sources = list(find_images(options.images))
    model = load(options.model)
    show = _print_json if options.json else _print_text
    broken = 0
    threads = cores()
    engine = usual_engine(model, threads=threads)
    if sys.stderr.isatty():
        print(f"on the {engine.name} engine, {threads} threads", file=sys.stderr)
    predictions = predict(model, sources, top=options.top, batch_size=options.batch_size, engine=engine.run)
    if not sys.stdout.isatty():  # on a terminal the results themselves show that it goes on
        predictions = watched(predictions, "classifying", total=len(sources))
    for prediction in predictions:
        if prediction.error is not None:
            broken += 1
            print(f"triscale predict: {prediction.path}: {prediction.error}", file=sys.stderr)
            if not options.json:
                continue
        show(prediction)
    if broken:
        raise ValueError(f"{broken} of {len(sources)} images could not be read")
