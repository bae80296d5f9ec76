"""Write crops.json: how TensorFlow's sample_distorted_bounding_box distributes crops.

    python tests/golden/make_crops.py

Needs tensorflow (2.21.0 wrote the file), which the tests do not. For each image size the boxes of 20,000 draws, with
the settings of the authors' preprocessing.py, are kept as quantiles of area, aspect ratio, top and left, all relative
to the image, with the share of draws that gave the whole image.
"""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

SIZES = ((375, 500), (500, 333), (64, 64), (100, 1000))
DRAWS = 20_000
QUANTILES = np.linspace(0, 1, 101)


def draw(height: int, width: int) -> np.ndarray:
    """(DRAWS, 4): top, left, height, width."""

    @tf.function
    def one(_: tf.Tensor) -> tf.Tensor:
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.constant([height, width, 3]),
            bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            min_object_covered=0.1,
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.08, 1.0),
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        return tf.stack([begin[0], begin[1], size[0], size[1]])

    return tf.map_fn(one, tf.zeros(DRAWS), fn_output_signature=tf.int32).numpy()


def main() -> None:
    """Draw and write."""
    tf.random.set_seed(0)
    entries = []
    for height, width in SIZES:
        boxes = draw(height, width)
        whole = (boxes[:, 2] == height) & (boxes[:, 3] == width)
        top, left, tall, wide = boxes[~whole].T
        values = {
            "area": tall * wide / (height * width),
            "aspect": wide / tall,
            "top": top / height,
            "left": left / width,
        }
        entries.append(
            {"height": height, "width": width, "draws": DRAWS, "whole": int(whole.sum())}
            | {name: [round(float(q), 6) for q in np.quantile(v, QUANTILES)] for name, v in values.items()}
        )
    text = json.dumps({"tensorflow": tf.__version__, "sizes": entries}, indent=1)
    Path(__file__).with_name("crops.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
