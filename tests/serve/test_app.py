"""The service: what it answers, what it refuses, what it leaves behind."""

import errno
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
from tune_brain.serve import table
from tune_brain.serve.answers import Predictor
from tune_brain.serve.app import create_app
from tune_brain.serve.guard import HEADERS
from tune_brain.serve.table import predict

JPEG = {"content-type": "image/jpeg"}
HERE = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def client(bundle_folder: Path) -> Iterator[TestClient]:
    app = create_app(open_bundle(bundle_folder))
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        yield client


def test_an_answer_holds_all_that_a_person_needs(client: TestClient, mri: Path) -> None:
    said = client.post("/predict", content=mri.read_bytes(), headers=JPEG).json()
    (frame,) = said["frames"]
    assert "Not a medical device" in said["notice"]
    assert sum(frame["probabilities"].values()) == pytest.approx(1)
    assert frame["probability"] == max(frame["probabilities"].values())
    assert [one["name"] for one in frame["members"]] == ["winner-cnn-0", "winner-resnet18-1"]
    assert len(frame["similar"]) == 5
    assert frame["image"].startswith("data:image/png;base64,")
    assert frame["heat"].startswith("data:image/png;base64,")


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
    served = np.array([one["logits"] for one in frame["members"]], np.float32)
    assert np.array_equal(served, alone)
    script = subprocess.run(
        [sys.executable, "predict.py", str(mri)], cwd=folder, capture_output=True, text=True, check=True
    )
    assert f"{frame['label']} {frame['probability']:.1%}" in script.stdout
    table = command("predict", folder, mri).stdout.splitlines()
    assert f",{frame['label']},{frame['probability']:.4f}," in table[1]


def test_a_picture_of_something_else_is_foreign_and_a_weak_answer_unsure(
    bundle_folder: Path, mri: Path, tmp_path: Path
) -> None:
    import shutil

    folder = shutil.copytree(bundle_folder, tmp_path / "shy")
    change(folder, abstention={"min_confidence": 2.0})
    with TestClient(create_app(open_bundle(folder)), base_url=HERE) as client:
        (weak,) = client.post("/predict", content=mri.read_bytes(), headers=JPEG).json()["frames"]
    assert (weak["unsure"], weak["foreign"]) == (True, False)
    assert weak["advice"] == "Unsure: please refer."
    change(folder, ood={"max_distance": 0.0})
    with TestClient(create_app(open_bundle(folder)), base_url=HERE) as client:
        (strange,) = client.post("/predict", content=mri.read_bytes(), headers=JPEG).json()["frames"]
    assert (strange["unsure"], strange["foreign"]) == (True, True)
    assert "Unlike" in strange["advice"]


def test_a_host_has_its_name_in_any_case(bundle_folder: Path) -> None:
    app = create_app(open_bundle(bundle_folder), hosts=("WARD-PC",))
    with TestClient(app, base_url="http://ward-pc:8000") as client:
        assert client.get("/health").status_code == 200
    with TestClient(app, base_url="http://other-pc:8000") as client:
        assert "--name" in client.get("/health").json()["detail"]


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
def test_what_is_refused_by_its_head_is_refused(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    refused = client.post("/predict", content=b"x", headers={**JPEG, **headers})
    assert refused.status_code == status
    assert refused.json()["detail"]
    assert "access-control-allow-origin" not in refused.headers


def test_a_page_of_its_own_is_let_in(client: TestClient, mri: Path) -> None:
    own = {**JPEG, "origin": HERE, "sec-fetch-site": "same-origin"}
    assert client.post("/predict", content=mri.read_bytes(), headers=own).status_code == 200


def test_a_body_without_a_length_is_cut_off_when_it_grows_too_long(client: TestClient) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(MOST_BYTES // 2**20 + 5):
            sent += 1
            yield b"x" * 2**20

    assert client.post("/predict", content=endless(), headers=JPEG).status_code == 413


def test_one_too_many_is_turned_away_at_once(bundle_folder: Path, mri: Path) -> None:
    with TestClient(create_app(open_bundle(bundle_folder), crowd=0), base_url=HERE) as client:
        refused = client.post("/predict", content=mri.read_bytes(), headers=JPEG)
        assert client.get("/health").status_code == 200
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/card", "/health", "/metrics", "/nowhere"])
def test_every_answer_has_its_headers_and_nothing_comes_from_elsewhere(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in answer.text


@pytest.mark.parametrize("path", ["/../errors.py", "/%2e%2e/errors.py", "/page.js/../app.py", "/docs"])
def test_no_path_reaches_the_disk(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_card_cannot_bring_markup_of_its_own(client: TestClient) -> None:
    assert "&lt;script&gt;" in client.get("/card").text


def test_the_metrics_count_without_names(client: TestClient, mri: Path) -> None:
    client.post("/predict", content=mri.read_bytes(), headers=JPEG)
    client.post("/predict", content=b"no image", headers=JPEG)
    told = client.get("/metrics").text
    assert "tune_brain_refused_total" in told
    assert 'tune_brain_answers_total{kind="sure"}' in told
    assert "pituitary" not in told


def test_only_keep_stores_and_only_under_hashes(bundle_folder: Path, mri: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with TestClient(create_app(open_bundle(bundle_folder), keep=kept), base_url=HERE) as client:
        client.post("/predict", content=mri.read_bytes(), headers={**JPEG, "x-name": "../../patient.jpg"})
        assert "are kept there with their answers" in client.get("/").text
    assert not any(path.stat().st_mode & 0o077 for path in (kept, *kept.iterdir()))
    with pytest.raises(ConfigError, match="--keep takes a folder"):
        create_app(open_bundle(bundle_folder), keep=mri)
    image, said = sorted(kept.iterdir())
    assert image.read_bytes() == mri.read_bytes()
    assert image.stem == said.stem
    assert len(image.stem) == 64
    assert json.loads(said.read_text())["frames"][0]["label"]


def test_what_cannot_be_kept_is_answered_and_counted(
    bundle_folder: Path, mri: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    with TestClient(create_app(open_bundle(bundle_folder), keep=kept), base_url=HERE) as client:

        def full(file: Path, content: bytes) -> int:
            with file.open("wb") as torn:
                torn.write(content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
        assert client.post("/predict", content=mri.read_bytes(), headers=JPEG).status_code == 200
        assert "tune_brain_unkept_total 1.0" in client.get("/metrics").text
    assert list(kept.iterdir()) == []


def test_a_fault_has_its_headers_too(client: TestClient, mri: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Predictor, "answer", lambda *_: 1 / 0)
    answer = client.post("/predict", content=mri.read_bytes(), headers=JPEG)
    assert answer.status_code == 500
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_image_is_answered_or_refused_and_never_a_fault(
    client: TestClient, mri: Path, data: st.DataObject
) -> None:
    content = bytearray(mri.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    assert client.post("/predict", content=bytes(content[:cut]), headers=JPEG).status_code in (200, 422)


@pytest.mark.slow
def test_requests_made_from_the_description_find_no_fault(client: TestClient) -> None:
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


def test_a_table_leaves_out_what_systems_put_beside_images(
    bundle_folder: Path, mri: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / ".images"
    for name in ("a.jpg", "._a.jpg", ".ipynb_checkpoints/a.jpg", "__MACOSX/a.jpg"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(mri, images / name)
    assert predict(bundle_folder, [images], tmp_path / "table.csv") == 0
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 2
    # What is too large is not read.
    bundle = open_bundle(bundle_folder)
    monkeypatch.setattr(table, "open_bundle", lambda _: bundle)
    monkeypatch.setattr(Path, "read_bytes", lambda file: pytest.fail(f"{file} was read"))
    with (images / "b.png").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    assert predict(bundle_folder, [images / "b.png"], tmp_path / "table.csv") == 1


def test_a_table_says_names_without_what_a_terminal_obeys(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a\x1b[2J.png"
    file.touch()
    assert predict(bundle_folder, [file], tmp_path / "table.csv") == 1
    assert "\x1b" not in capsys.readouterr().err
