"""Search spaces: the fixed and the tuned hyperparameters of one architecture, read from a TOML file."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from tune_brain.config import Frozen, Hyperparameters, Precision, TrialConfig, check, read_toml, to_toml
from tune_brain.errors import ConfigError
from tune_brain.files import write_text


class Range(Frozen):
    """The range of a tuned hyperparameter, from low to high inclusive."""

    low: float
    high: float
    log: bool = True
    """Whether values are sampled uniformly in their logarithm; otherwise uniformly."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, not {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 where log = true, not {self.low}")
        return self

    def contains(self, other: "Range") -> bool:
        """Whether every value of another range lies in this one and both are sampled on the same scale."""
        return self.log == other.log and self.low <= other.low and self.high >= other.high

    def share(self, value: float) -> float:
        """The position of a value in the range: 0 at its low end, 1 at its high end."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)

    def value(self, share: float) -> float:
        """The value at a position in the range; the inverse of `share`."""
        if not self.log:
            return self.low + share * (self.high - self.low)
        low, high = math.log(self.low), math.log(self.high)
        return math.exp(low + share * (high - low))


class Space(Frozen):
    """The fixed and tuned hyperparameters of one architecture, and its untuned baseline."""

    arch: str
    fixed: dict[str, int | float] = Field(default_factory=dict)
    tuned: dict[str, Range] = Field(min_length=1)
    baseline: dict[str, float]
    first: tuple[dict[str, float], ...] = ()
    """Configurations that are tried before any is sampled, set by a warm start."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        possible = Hyperparameters.model_fields
        if unknown := sorted((self.fixed.keys() | self.tuned.keys()) - possible.keys()):
            raise ValueError(f"no such hyperparameter: {', '.join(unknown)}; there are {', '.join(possible)}")
        if twice := sorted(self.fixed.keys() & self.tuned.keys()):
            raise ValueError(f"a hyperparameter cannot be both fixed and tuned: {', '.join(twice)}")
        if self.baseline.keys() != self.tuned.keys():
            raise ValueError(
                f"baseline must hold the tuned hyperparameters ({', '.join(self.tuned)}), "
                f"not {', '.join(self.baseline)}"
            )
        for name, value in self.baseline.items():
            if not self.tuned[name].low <= value <= self.tuned[name].high:
                raise ValueError(f"baseline {name} must lie in its range, not {value}")
        if outside := [values for values in self.first if not self.holds(values)]:
            raise ValueError(
                f"first must hold values of the tuned hyperparameters, each in its range, not {outside[0]}"
            )
        for values in (
            {name: limits.low for name, limits in self.tuned.items()},
            {name: limits.high for name, limits in self.tuned.items()},
            self.baseline,
            *self.first,
        ):
            self.hyperparameters(values)
        return self

    @property
    def whole(self) -> frozenset[str]:
        """The tuned hyperparameters that are integers, such as the batch size."""
        fields = Hyperparameters.model_fields
        return frozenset(name for name in self.tuned if fields[name].annotation is int)

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether these are values of exactly the tuned hyperparameters, each in its range."""
        return values.keys() == self.tuned.keys() and all(
            limits.low <= values[name] <= limits.high for name, limits in self.tuned.items()
        )

    def hyperparameters(self, values: Mapping[str, float]) -> Hyperparameters:
        """The fixed hyperparameters combined with values for the tuned ones."""
        return Hyperparameters.model_validate({**self.fixed, **values})

    def trial(
        self,
        values: Mapping[str, float],
        *,
        epochs: int,
        image_size: int,
        classes: int,
        seed: int,
        precision: Precision,
        cycle: int | None = None,
    ) -> TrialConfig:
        """The configuration of one trial with these values for the tuned hyperparameters."""
        return TrialConfig(
            arch=self.arch,
            epochs=epochs,
            cycle=cycle,
            image_size=image_size,
            classes=classes,
            seed=seed,
            precision=precision,
            hyperparameters=self.hyperparameters(values),
        )


def default_folder() -> Path:
    """The folder of the space files that come with tune_brain, in a checkout or in an installed wheel."""
    package = Path(__file__).parent
    installed = package / "search_spaces"
    return installed if installed.is_dir() else package.parent / "search_spaces"


def load(folder: Path, archs: Iterable[str]) -> dict[str, Space]:
    """Read `<arch>.toml` for each architecture.

    Raises:
        ConfigError: a file is missing, invalid, or names another architecture.
    """
    spaces = {}
    for arch in archs:
        path = folder / f"{arch}.toml"
        if not path.is_file():
            existing = ", ".join(sorted(file.name for file in folder.glob("*.toml"))) or "no space file"
            raise ConfigError(
                f"The space file {arch}.toml is missing",
                found=f"{existing} in {folder}",
                remedy="Copy one of the files that come with tune_brain and edit it; in the folder of a run, "
                "restore the file from a copy of the run.",
            )
        space = check(Space, read_toml(path), str(path))
        if space.arch != arch:
            raise ConfigError(f"{path.name} must say arch = '{arch}'", found=space.arch)
        spaces[arch] = space
    return spaces


def save(spaces: Mapping[str, Space], folder: Path) -> None:
    """Write each space to `<arch>.toml`, so that a run keeps the spaces that it searched."""
    for arch, space in spaces.items():
        unused = frozenset() if space.first else frozenset({"first"})
        text = to_toml(space, f"The space that was searched for {arch}.", unused)
        write_text(folder / f"{arch}.toml", text)
