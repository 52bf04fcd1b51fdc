"""Map the class names of several folders to common ones."""

import re
from collections.abc import Mapping, Sequence

from tune_brain.errors import ConfigError, DataError
from tune_brain.text import legible

TUMOURS = ("glioma", "meningioma", "pituitary")
NONE = "notumor"
NONE_SPELLED = (NONE, "notumors", "normal", "healthy")


def spelled(name: str) -> str:
    """The common spelling of a class name; a name outside the four common classes is returned unchanged.

    `Glioma_Tumor`, `glioma tumour` and `glioma` are the same class, and so are `no_tumor`, `No Tumour`,
    `normal` and `healthy`.
    """
    letters = re.sub(r"[\W_]+", "", name.lower()).replace("tumour", "tumor")
    if letters in NONE_SPELLED:
        return NONE
    bare = letters.removesuffix("s").removesuffix("tumor")
    return bare if bare in TUMOURS else name


def parse_rules(text: str) -> dict[str, str]:
    """Parse `OLD=NEW,OLD=NEW` into new names by old ones.

    Raises:
        ConfigError: a rule does not have this form, or a class has two rules.
    """
    rules: dict[str, str] = {}
    for rule in filter(None, text.split(",")):
        old, equals, new = (piece.strip() for piece in rule.partition("="))
        if not (old and equals and new) or "/" in new or new.startswith((".", "__")) or old in rules:
            raise ConfigError("--map takes OLD=NEW,..., one rule per class", found=rule)
        rules[old] = new
    return rules


def class_names(classes: Mapping[str, Sequence[str]], rules: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """New names of the classes of each source: given by a rule, otherwise the common spelling.

    The combined classes are those of the first source and the new names in rules; every class of another
    source must be one of them.

    Args:
        classes: names of the class folders by source, in the order of the sources.
        rules: new names by old ones, for all sources.

    Raises:
        DataError: a rule names a class that no source has, or a class is not among the combined ones.
    """
    existing = legible("; ".join(f"{source}: {', '.join(names)}" for source, names in classes.items()))
    old_names = {name for names in classes.values() for name in names}
    if unknown := sorted(set(rules) - old_names):
        raise DataError(
            "A --map rule must name a class that one of the folders has",
            found=", ".join(unknown),
            remedy=f"The classes are {existing}.",
        )
    new_names = {
        source: {name: rules.get(name, spelled(name)) for name in names} for source, names in classes.items()
    }
    first = next(iter(new_names.values()))
    combined = {*first.values(), *rules.values()}
    unmapped = [
        f"{old} of {source}"
        for source, names in new_names.items()
        for old, new in names.items()
        if new not in combined
    ]
    if unmapped:
        raise DataError(
            f"Every class must be one of {legible(', '.join(sorted(combined)))}",
            found=", ".join(unmapped),
            remedy=f"The classes are {existing}. Map the others: --map OLD=NEW,... (OLD=OLD keeps one).",
        )
    return new_names
