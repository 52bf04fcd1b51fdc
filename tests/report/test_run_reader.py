"""The cache that threads share, and the parts of a run's contents that are derived from its files."""

import dataclasses

import pytest
from starlette.testclient import TestClient

from tune_brain.errors import ConfigError
from tune_brain.report.live import application
from tune_brain.report.run_reader import VersionedCache, read_contents


def test_a_value_is_that_of_the_requested_version_whatever_another_thread_requests_meanwhile() -> None:
    cache = VersionedCache()

    class Version:
        """As it is compared with itself, another thread requests the next version."""

        def __ne__(self, other: object) -> bool:
            if other is self:
                assert cache.get("key", "next", lambda: "new") == "new"
            return other is not self

        __hash__ = None

    version = Version()
    assert cache.get("key", version, lambda: "old") == "old"
    assert cache.get("key", version, lambda: "old") == "old"
    assert cache.get("key", "next", lambda: "made again") == "new"


def test_an_ensemble_of_one_network_is_not_shown_beside_it(scored_run) -> None:
    contents = read_contents(scored_run)
    verdicts = {"cnn": "cnn: it won.", "ensemble": "ensemble: it did not differ."}
    both = {"scores": {name: {} for name in verdicts}, "comparisons": {"verdicts": verdicts}}
    for archs, seeds, shown in (
        (("cnn",), 1, ["cnn"]),
        (("cnn",), 2, [*verdicts]),
        (("cnn", "linear"), 1, [*verdicts]),
    ):
        config = contents.config.model_copy(update={"arch": archs, "seeds": seeds})
        of = dataclasses.replace(contents, config=config, **both)
        assert [*of.verdicts] == [*of.tested] == shown


@pytest.mark.parametrize("damage", ["values = ", "score = 0.5"])
def test_a_damaged_winner_is_an_error_that_names_its_file(new_run, damage) -> None:
    run = new_run(archs=("cnn",), configs=2)
    assert read_contents(run).winners["cnn"].training.arch == "cnn"
    client = TestClient(application([run]), base_url="http://127.0.0.1")
    (run / "winners" / "cnn.toml").unlink()
    (run / "winners" / "cnn.toml").write_text(damage)
    with pytest.raises(ConfigError, match=r"winners/cnn\.toml"):
        read_contents(run)
    answer = client.get("/run/0/views/overview")
    assert (answer.status_code, "winners/cnn.toml" in answer.text) == (409, True)
