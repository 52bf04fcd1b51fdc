"""One name for each class of several folders."""

import re
from collections.abc import Mapping, Sequence

from tune_brain.errors import ConfigError, DataError
from tune_brain.text import legible

TUMOURS = ("glioma", "meningioma", "pituitary")
NONE = "notumor"
NONE_SPELLED = (NONE, "notumors", "normal", "healthy")


def spelled(name: str) -> str:
    """The common spelling of a class; a name that is none of the four common ones stays as it is.

    `Glioma_Tumor`, `glioma tumour` and `glioma` are one, and so are `no_tumor`, `No Tumour`, `normal` and
    `healthy`.
    """
    letters = re.sub(r"[\W_]+", "", name.lower()).replace("tumour", "tumor")
    if letters in NONE_SPELLED:
        return NONE
    bare = letters.removesuffix("s").removesuffix("tumor")
    return bare if bare in TUMOURS else name


def parse_rules(text: str) -> dict[str, str]:
    """`a=b,c=d` as new names by old ones.

    Raises:
        ConfigError: a rule is not of this form, or a class has two.
    """
    rules: dict[str, str] = {}
    for rule in filter(None, text.split(",")):
        old, equals, new = (piece.strip() for piece in rule.partition("="))
        if not (old and equals and new) or "/" in new or new.startswith((".", "__")) or old in rules:
            raise ConfigError("--map takes OLD=NEW,..., one for each class", found=rule)
        rules[old] = new
    return rules


def class_names(classes: Mapping[str, Sequence[str]], rules: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """New names of the classes of each source: by a rule, else in the common spelling.

    The first source's classes and those on the right of a rule are the classes of the whole; a class of
    another source has to be one of them.

    Args:
        classes: names of the class folders by source, the first source first.
        rules: new names by old ones, for all sources.

    Raises:
        DataError: a rule for a class that no source has, or a class that is none of the whole.
    """
    existing = legible("; ".join(f"{source}: {', '.join(own)}" for source, own in classes.items()))
    everything = {name for own in classes.values() for name in own}
    if strange := sorted(set(rules) - everything):
        raise DataError(
            "A rule is for a class that a folder has",
            found=", ".join(strange),
            remedy=f"There are {existing}.",
        )
    names = {
        source: {name: rules.get(name, spelled(name)) for name in own} for source, own in classes.items()
    }
    first = next(iter(names.values()))
    whole = {*first.values(), *rules.values()}
    unmapped = [
        f"{name} of {source}"
        for source, own in names.items()
        for name, new in own.items()
        if new not in whole
    ]
    if unmapped:
        raise DataError(
            f"Every class must be one of {legible(', '.join(sorted(whole)))}",
            found=", ".join(unmapped),
            remedy=f"There are {existing}. Say which is which: --map OLD=NEW,..., NEW perhaps OLD itself.",
        )
    return names
