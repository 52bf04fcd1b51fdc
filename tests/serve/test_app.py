"""The HTTP service: what it answers, refuses and stores."""

import errno
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import schemathesis
from bundles import change, write_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from starlette.testclient import TestClient

from tune_brain.bundle.read import open_bundle
from tune_brain.errors import ConfigError
from tune_brain.portable.model import load, read
from tune_brain.portable.pictures import MOST_BYTES
from tune_brain.serve.answers import Predictor
from tune_brain.serve.app import create_app
from tune_brain.serve.guard import BODY_SECONDS, HEADERS

JPEG = {"content-type": "image/jpeg"}
HERE = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def client(bundle_folder: Path) -> Iterator[TestClient]:
    app = create_app(open_bundle(bundle_folder))
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        yield client


def test_a_prediction_has_everything_the_page_shows(client: TestClient, mri: Path) -> None:
    prediction = client.post("/predict", content=mri.read_bytes(), headers=JPEG).json()
    (frame,) = prediction["frames"]
    assert "Not a medical device" in prediction["notice"]
    assert prediction["tested"] is None
    assert prediction["image_size"] == 48
    assert frame.keys() == {
        *(
            "number",
            "of",
            "label",
            "probability",
            "probabilities",
            "words",
            "unsure",
            "foreign",
            "advice",
            "reason",
        ),
        *("members", "agreeing", "similar", "similar_in_words", "image", "heat"),
    }
    assert frame["members"][0].keys() == {"name", "label", "probability", "weight"}
    assert sum(frame["probabilities"].values()) == pytest.approx(1)
    assert frame["probability"] == max(frame["probabilities"].values())
    assert [member["name"] for member in frame["members"]] == ["winner-cnn-0", "winner-resnet18-1"]
    assert len(frame["similar"]) == 5
    assert frame["similar"][0].keys() == {"label", "similarity"}
    assert frame["similar_in_words"].startswith(tuple("12345"))
    assert frame["image"].startswith("data:image/png;base64,")
    assert frame["heat"].startswith("data:image/png;base64,")


NO_ANSWER = {"n": 0, "share": 0.0, "accuracy": None}
FEW, MANY = ({"n": n, "share": 0.5, "accuracy": accuracy} for n, accuracy in ((57, 0.35), (261, 0.84)))


@pytest.mark.parametrize(
    ("unseen", "official", "tested"),
    [
        (FEW, MANY, {"part": "unseen", "n": 57, "accuracy": 0.35}),
        (NO_ANSWER, MANY, {"part": "official", "n": 261, "accuracy": 0.84}),
        (NO_ANSWER, NO_ANSWER, None),
        ("nonsense", MANY, None),
        ({**FEW, "accuracy": 35}, MANY, None),
    ],
)
def test_how_often_sure_answers_were_right_on_the_test_comes_with_a_prediction(
    light_bundle: Path, mri: Path, tmp_path: Path, unseen: object, official: object, tested: object
) -> None:
    folder = shutil.copytree(light_bundle, tmp_path / "scored")
    change(folder, scores={"unseen": {"answered": unseen}, "official": {"answered": official}})
    with TestClient(create_app(open_bundle(folder)), base_url=HERE) as client:
        assert client.post("/predict", content=mri.read_bytes(), headers=JPEG).json()["tested"] == tested
        health = client.get("/health").json()
        assert (health["tested"], health["body_seconds"]) == (tested, BODY_SECONDS)


@pytest.mark.slow
def test_a_file_gives_the_same_bits_in_bundle_script_table_and_service(
    phantoms: Path, mri: Path, tmp_path: Path, command
) -> None:
    folder = write_bundle(tmp_path / "bundle", phantoms, ("linear", "cnn", "resnet18"))
    model = load(folder)
    pixels = read([mri], model.image_size)
    alone = model.logits(pixels)[:, 0]
    crowd = model.logits(read(sorted(mri.parent.iterdir()), model.image_size))
    place = sorted(mri.parent.iterdir()).index(mri)
    assert np.array_equal(crowd[:, place], alone)
    with TestClient(create_app(open_bundle(folder)), base_url=HERE) as client:
        (frame,) = client.post("/predict", content=mri.read_bytes(), headers=JPEG).json()["frames"]
    inference = model.infer(pixels)
    assert list(frame["probabilities"].values()) == inference.probabilities[0].tolist()
    assert [member["probability"] for member in frame["members"]] == inference.members[:, 0].max(1).tolist()
    script = subprocess.run(
        [sys.executable, "predict.py", str(mri)], cwd=folder, capture_output=True, text=True, check=True
    )
    assert f"{frame['label']} {frame['probability']:.1%}" in script.stdout
    table = command("predict", folder, mri)
    assert f",{frame['label']},{frame['probability']:.4f}," in table.stdout.splitlines()[1]
    for done in (script, table):
        assert done.stderr.startswith("Not a medical device.")
        assert "medical" not in done.stdout


def test_host_names_are_compared_ignoring_case(light_bundle: Path) -> None:
    app = create_app(open_bundle(light_bundle), hosts=("WARD-PC",))
    with TestClient(app, base_url="http://ward-pc:8000") as client:
        assert client.get("/health").status_code == 200
    with TestClient(app, base_url="http://other-pc:8000") as client:
        assert "--name" in client.get("/health").json()["detail"]


def test_a_body_that_nobody_would_read_is_refused(client: TestClient) -> None:
    assert client.get("/health").status_code == 200
    refused = client.request("GET", "/health", content=b"x")
    assert (refused.status_code, refused.headers["connection"]) == (400, "close")
    assert client.request("GET", "/", content=iter([b"x"])).status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:8000"}, 421),
        ({"host": ""}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9000"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"content-length": str(MOST_BYTES + 1)}, 413),
        ({"content-length": "9" * 5000}, 413),
        ({"content-length": "-1"}, 400),
        ({"x-long": "y" * 17_000}, 431),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_a_request_with_a_bad_head_is_refused(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    refused = client.post("/predict", content=b"x", headers={**JPEG, **headers})
    assert refused.status_code == status
    assert refused.json()["detail"]
    assert "access-control-allow-origin" not in refused.headers


def test_a_request_from_its_own_page_is_accepted(client: TestClient, mri: Path) -> None:
    own = {**JPEG, "origin": HERE, "sec-fetch-site": "same-origin"}
    assert client.post("/predict", content=mri.read_bytes(), headers=own).status_code == 200


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(MOST_BYTES // 2**20 + 5):
            yield b"x" * 2**20

    assert client.post("/predict", content=endless(), headers=JPEG).status_code == 413


def test_requests_beyond_the_limit_get_a_503(
    light_bundle: Path, mri: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_brain.serve.app.CROWD", 0)
    with TestClient(create_app(open_bundle(light_bundle)), base_url=HERE) as client:
        refused = client.post("/predict", content=mri.read_bytes(), headers=JPEG)
        assert client.get("/health").status_code == 200
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/card", "/health", "/metrics", "/nowhere"])
def test_responses_have_security_headers_and_link_to_no_other_site(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in answer.text


@pytest.mark.parametrize("path", ["/../errors.py", "/%2e%2e/errors.py", "/page.js/../app.py", "/docs"])
def test_paths_do_not_reach_the_disk(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_markup_in_a_card_is_escaped(client: TestClient) -> None:
    assert "&lt;script&gt;" in client.get("/card").text


def test_metrics_count_without_class_names(client: TestClient, mri: Path) -> None:
    client.post("/predict", content=mri.read_bytes(), headers=JPEG)
    client.post("/predict", content=b"no image", headers=JPEG)
    metrics = client.get("/metrics").text
    assert "tune_brain_refused_total" in metrics
    assert 'tune_brain_answers_total{kind="sure"}' in metrics
    assert "pituitary" not in metrics


def test_keep_stores_files_and_predictions_under_hashes(
    light_bundle: Path, mri: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    with TestClient(create_app(open_bundle(light_bundle), keep=kept), base_url=HERE) as client:
        client.post("/predict", content=mri.read_bytes(), headers={**JPEG, "x-name": "../../patient.jpg"})
        assert "are kept there with their answers" in client.get("/").text
    assert not any(path.stat().st_mode & 0o077 for path in (kept, *kept.iterdir()))
    with pytest.raises(ConfigError, match="--keep"):
        create_app(open_bundle(light_bundle), keep=mri)
    digest = hashlib.sha256(mri.read_bytes()).hexdigest()
    first = open_bundle(light_bundle).fingerprint
    assert {path.name for path in kept.iterdir()} == {f"{digest}.image", f"{digest}-{first[:12]}.json"}
    assert (kept / f"{digest}.image").read_bytes() == mri.read_bytes()
    # Another bundle does not overwrite what the first one predicted.
    other = shutil.copytree(light_bundle, tmp_path / "other")
    change(other, note="another")
    second = open_bundle(other).fingerprint
    with TestClient(create_app(open_bundle(other), keep=kept), base_url=HERE) as client:
        client.post("/predict", content=mri.read_bytes(), headers=JPEG)
    for fingerprint in (first, second):
        prediction = json.loads((kept / f"{digest}-{fingerprint[:12]}.json").read_text())
        assert prediction["fingerprint"] == fingerprint
        assert prediction["frames"][0]["label"]
    assert len(list(kept.iterdir())) == 3


def test_a_file_that_cannot_be_kept_is_still_predicted_and_counted(
    light_bundle: Path, mri: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    with TestClient(create_app(open_bundle(light_bundle), keep=kept), base_url=HERE) as client:

        def full(file: Path, content: bytes) -> int:
            with file.open("wb") as torn:
                torn.write(content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
        assert client.post("/predict", content=mri.read_bytes(), headers=JPEG).status_code == 200
        assert "tune_brain_unkept_total 1.0" in client.get("/metrics").text
    assert list(kept.iterdir()) == []


def test_an_internal_error_has_security_headers_too(
    client: TestClient, mri: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Predictor, "answer", lambda *_: 1 / 0)
    answer = client.post("/predict", content=mri.read_bytes(), headers=JPEG)
    assert answer.status_code == 500
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_image_is_predicted_or_refused_but_never_an_error(
    client: TestClient, mri: Path, data: st.DataObject
) -> None:
    content = bytearray(mri.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    assert client.post("/predict", content=bytes(content[:cut]), headers=JPEG).status_code in (200, 422)


@pytest.mark.slow
def test_requests_generated_from_the_openapi_description_cause_no_error(client: TestClient) -> None:
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
        def ask(case) -> None:
            request = case.as_transport_kwargs(base_url=HERE)
            answer = client.request(
                **{key: request[key] for key in ("method", "url", "headers", "params") if key in request},
                content=request.get("data") if isinstance(request.get("data"), bytes) else b"",
            )
            assert answer.status_code < 500

        ask()
