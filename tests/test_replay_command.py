"""A search replayed through the command line."""

import json
from pathlib import Path

import pytest

from tune_brain.files import read_json
from tune_brain.records import trials_of
from tune_brain.runs import open_run
from tune_brain.search.outcomes import read_outcomes
from tune_brain.search.replay import replay
from tune_brain.search.surrogate import Surrogate
from tune_brain.space import default_folder

pytestmark = pytest.mark.slow


def test_a_search_with_a_final_round_is_replayed(command, phantoms: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    options = ("--arch", "linear", "--configs", "6", "--ladder", "1,2", "--final-round", "2x1")
    # One trial at a time, since the order in which trials end can decide which are promoted.
    options = (*options, "--concurrency", "1")
    command(
        "search", "--data", phantoms, "--out", folder, "--image-size", 32, "--sampler", "halton", *options
    )
    assert "again = [" in (folder / "winners" / "linear.toml").read_text()
    assert "trained were [1, 2]" in command("replay", folder, "--ladder", "1,3", code=2).stderr
    assert "--slots takes numbers" in command("replay", folder, "--slots", "two", code=2).stderr
    printed = command("replay", folder, "--ladder", "1,2/2", "--slots", "1,2", "--repeats", 2).stdout
    assert "tpe 1,2 of 6, final 2x1, 2 slots" not in printed
    assert "halton 1,2 of 6, final 2x1, 2 slots" in printed
    (study,) = json.loads((folder / "replay.json").read_text())["studies"]
    assert [way["name"] for way in study["variants"]] == [
        "random 2 of 6, 1 slots",
        "halton 1,2 of 6, final 2x1, 1 slots",
        "halton 1,2 of 6, final 2x1, 2 slots",
        "halton 2 of 6, final 2x1, 1 slots",
        "halton 2 of 6, final 2x1, 2 slots",
    ]
    _retraced(folder)
    # With two slots the search ends sooner and trains as much.
    one, two = study["variants"][3:]
    for first, second in zip(one["repeats"], two["repeats"], strict=True):
        assert first["epochs"][-1] == second["epochs"][-1] == 2 * (1 + 6 + 2)
        assert second["seconds"][-1] < first["seconds"][-1]
    # A second architecture without any score, and epochs from which a damaged line was removed.
    toml = (folder / "run.toml").read_text()
    (folder / "run.toml").write_text(toml.replace('["linear"]', '["linear", "cnn"]'))
    (folder / "spaces" / "cnn.toml").write_text((default_folder() / "cnn.toml").read_text())
    rows = (folder / "epochs.jsonl").read_text().splitlines(keepends=True)
    (folder / "epochs.jsonl").write_text("".join(rows[:1] + rows[2:]))
    assert "cnn is left out" in command("replay", folder, "--ladder", "2", "--repeats", 1).stderr
    page = (folder / "replay.html").read_text()
    assert "halton 2 of 6" in page
    assert "<script src" not in page


def _retraced(folder: Path) -> None:
    """A replay with the search's own seed and slots trains the same trials, with scores within the noise."""
    surrogate, config = Surrogate(read_outcomes([folder], "linear")), open_run(folder).config
    trained = trials_of(folder)
    slots = read_json(folder / "record.json")["slots"]
    ways = [
        {(row.configuration, row.epochs): row for row in rows if not row.repeat}
        for rows in (trained, [ended.row for ended in replay(surrogate, config, slots)])
    ]
    real, replayed = ways
    assert real.keys() == replayed.keys()
    for trial, row in real.items():
        assert row.values == replayed[trial].values
        # Short trials have one seed, whose score the surrogate reproduces exactly.
        noise = 4 * surrogate.noise if row.epochs == config.full_length else 1e-6
        assert row.score == pytest.approx(replayed[trial].score, abs=noise)
