"""The classes of ImageNet (ILSVRC 2012): what released weights answer with, and what its folders are called."""

from triscale.imagenet.classes import (
    imagenet_challenge_numbers as imagenet_challenge_numbers,
    imagenet_class_names as imagenet_class_names,
    imagenet_wordnet_ids as imagenet_wordnet_ids,
)
