"""The cache that threads share, and the parts of a run's contents that are derived from its files."""

import dataclasses

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
