"""Importances, and the studies as the real optuna-dashboard shows them."""

import json
import shutil
import threading
import urllib.request
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import numpy as np
import optuna
import pytest

from tune_brain.records import TrialRow
from tune_brain.runs import read_winner
from tune_brain.search.importance import FEWEST, importances
from tune_brain.space import Range, Space
from tune_brain.stages.search import write_studies

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
SPACE = Space(
    arch="cnn",
    fixed={"grad_clip": 1.0},
    tuned={"weight_decay": Range(low=1e-6, high=1e-1), "max_lr": Range(low=1e-4, high=1e-1)},
    baseline={"weight_decay": 1e-2, "max_lr": 1e-3},
)


def rows(count: int, epochs: int = 3) -> list[TrialRow]:
    """Trials whose score follows the learning rate alone."""
    rng = np.random.default_rng(3)
    found = []
    for number in range(count):
        values = {"max_lr": 10 ** rng.uniform(-4, -1), "weight_decay": 10 ** rng.uniform(-6, -1)}
        score = 1 - abs(np.log10(values["max_lr"]) + 2.5) / 3
        plain = {"arch": "cnn", "epochs": epochs, "seed": 0, "started": 0.0, "state": "completed"}
        found.append(TrialRow(trial=number, configuration=number, values=values, score=score, **plain))
    return found


def test_what_decides_the_score_is_important():
    found, n = importances(rows(60), SPACE, 3)
    assert n == 60
    assert next(iter(found)) == "max_lr"
    assert found["max_lr"] > 0.8
    assert sum(found.values()) == pytest.approx(1)


def test_of_few_trials_or_equal_scores_nothing_is_said():
    assert importances(rows(FEWEST - 1), SPACE, 3) == ({}, FEWEST - 1)
    assert importances(rows(60), SPACE, 12) == ({}, 0)
    equal = [row.model_copy(update={"score": 0.5}) for row in rows(30)]
    assert importances(equal, SPACE, 3) == ({}, 30)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_optuna_dashboard_shows_the_same_best_configuration(tmp_path):
    dashboard = pytest.importorskip("optuna_dashboard")
    run = Path(shutil.copytree(REFERENCE / "sartaj", tmp_path / "sartaj"))
    journal = write_studies(run, tmp_path / "studies.log")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    with make_server("127.0.0.1", 0, dashboard.wsgi(storage), handler_class=Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def ask(path: str) -> dict:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}{path}", timeout=30) as answer:
                return json.load(answer)

        studies = {study["study_name"]: study for study in ask("/api/studies")["study_summaries"]}
        assert set(studies) == {"linear", "cnn", "resnet18"}
        for arch, study in studies.items():
            winner = read_winner(run / "winners" / f"{arch}.toml")
            shown = ask(f"/api/studies/{study['study_id']}?after=0")
            (best,) = shown["best_trials"]
            assert best["values"] == [pytest.approx(winner.score)]
            told = {one["name"]: float(one["param_internal_value"]) for one in best["params"]}
            assert told == pytest.approx(winner.values)
            attrs = {one["key"]: one["value"] for one in best["user_attrs"]}
            assert int(attrs["configuration"]) == winner.configuration
            assert attrs["winner"] == "True"
            assert json.loads(attrs["full-length scores"])[0] == pytest.approx(winner.score)
        server.shutdown()
