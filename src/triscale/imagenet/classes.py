"""Names and WordNet ids of ImageNet's 1000 classes."""

import json
from collections import Counter
from functools import lru_cache
from importlib import resources

_FILE = "classes.json"
"""WordNet ids and synonyms of the ILSVRC 2012 classes, in the order of the ids, as its development kit lists them."""
_NUMBERS_FILE = "challenge_numbers.json"
"""For each class in the same order its ILSVRC2012_ID, as the development kit numbers them."""


def _classes() -> list[tuple[str, str]]:
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    return [(identifier, synonyms) for identifier, synonyms in json.loads(text)]


@lru_cache
def imagenet_challenge_numbers() -> tuple[int, ...]:
    """By label, the ILSVRC2012_ID, 1..1000, that the challenge's server knows the class by; kit fox is 1."""
    text = resources.files(__package__).joinpath(_NUMBERS_FILE).read_text(encoding="utf-8")
    return tuple(json.loads(text))


@lru_cache
def imagenet_wordnet_ids() -> tuple[str, ...]:
    """`n01440764` and so on, by label: sorted, which is the order of the labels."""
    return tuple(identifier for identifier, _ in _classes())


@lru_cache
def imagenet_class_names() -> tuple[str, ...]:
    """One name a class, all different: its first synonym, all of them, or those with the WordNet id."""
    classes = _classes()
    first = [synonyms.partition(",")[0] for _, synonyms in classes]
    firsts, all_synonyms = Counter(first), Counter(synonyms for _, synonyms in classes)

    def name(short: str, identifier: str, synonyms: str) -> str:
        if firsts[short] == 1:
            return short
        return synonyms if all_synonyms[synonyms] == 1 else f"{synonyms} ({identifier})"

    return tuple(name(short, *entry) for short, entry in zip(first, classes, strict=True))
