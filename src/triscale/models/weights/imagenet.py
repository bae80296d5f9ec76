"""Names of the 1000 classes that ImageNet weights answer with."""

import json
from collections import Counter
from functools import lru_cache
from importlib import resources

_FILE = "imagenet_classes.json"
"""WordNet ids and synonyms of the ILSVRC 2012 classes, in the order of the ids, as its development kit lists them."""


@lru_cache
def imagenet_class_names() -> tuple[str, ...]:
    """One name a class, all different: its first synonym, all of them, or those with the WordNet id."""
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    classes: list[tuple[str, str]] = [(identifier, synonyms) for identifier, synonyms in json.loads(text)]
    first = [synonyms.partition(",")[0] for _, synonyms in classes]
    firsts, all_synonyms = Counter(first), Counter(synonyms for _, synonyms in classes)

    def name(short: str, identifier: str, synonyms: str) -> str:
        if firsts[short] == 1:
            return short
        return synonyms if all_synonyms[synonyms] == 1 else f"{synonyms} ({identifier})"

    return tuple(name(short, *entry) for short, entry in zip(first, classes, strict=True))
