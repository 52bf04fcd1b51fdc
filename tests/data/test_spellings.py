"""Mapping the class names of several folders to common ones."""

import pytest

from tune_brain.data.spellings import class_names, parse_rules, spelled
from tune_brain.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("name", "common"),
    [
        *(
            (name, "notumor")
            for name in ("no_tumor", "notumor", "No Tumour", "no-tumors", "normal", "Healthy")
        ),
        *((name, "glioma") for name in ("glioma", "glioma_tumor", "Glioma Tumour", "gliomas", "GLIOMA")),
        ("meningioma_tumor", "meningioma"),
        ("pituitary tumor", "pituitary"),
        ("Pituitary", "pituitary"),
        ("tumor", "tumor"),
        ("Schwannoma", "Schwannoma"),
        ("<img src=x>", "<img src=x>"),
    ],
)
def test_names_map_to_the_common_spelling(name: str, common: str) -> None:
    assert spelled(name) == common


def test_an_unmapped_class_is_an_error_that_lists_all_classes() -> None:
    classes = {"x": ["glioma_tumor", "no_tumor"], "y": ["glioma", "schwannoma"]}
    with pytest.raises(DataError, match="one of glioma, notumor; found: schwannoma of y") as error:
        class_names(classes, {})
    assert "x: glioma_tumor, no_tumor; y: glioma, schwannoma" in str(error.value)
    mapped = class_names(classes, {"schwannoma": "schwannoma"})
    assert mapped["y"] == {"glioma": "glioma", "schwannoma": "schwannoma"}
    assert class_names(classes, {"schwannoma": "notumor"})["y"]["schwannoma"] == "notumor"
    with pytest.raises(DataError, match="found: astrocytoma"):
        class_names(classes, {"astrocytoma": "glioma"})


@pytest.mark.parametrize("text", ["a", "a=", "=b", "a=b,a=c", "a=../b", "a=.b"])
def test_invalid_rules_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="OLD=NEW"):
        parse_rules(text)
    assert parse_rules("a=b, c d=e") == {"a": "b", "c d": "e"}
