"""launch/serve.yaml names an existing application and follows Ray's schema."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

RECIPE = Path(__file__).parents[2] / "launch" / "serve.yaml"


@pytest.fixture
def recipe() -> Any:
    return yaml.safe_load(RECIPE.read_text(encoding="utf-8"))


def test_the_recipe_names_an_existing_application(recipe: Any) -> None:
    (application,) = recipe["applications"]
    module, _, name = application["import_path"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    assert recipe["http_options"]["host"] == "127.0.0.1"


def test_the_recipe_follows_rays_schema(recipe: Any) -> None:
    pytest.importorskip("grpc", reason="ray[serve] is not installed")
    from ray.serve.schema import ServeDeploySchema

    ServeDeploySchema.model_validate(recipe)
