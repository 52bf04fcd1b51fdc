import functools
import hashlib
import http.server
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import ResNet34_Weights, resnet34

from tune_brain.errors import WeightsError
from tune_brain.weights import resolve


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """The parameters of a ResNet-34, each one number repeated, so that its torch file is small."""
    with torch.device("meta"):
        shapes = {name: (value.shape, value.dtype) for name, value in resnet34().state_dict().items()}
    return {
        name: torch.tensor(number, dtype=dtype).expand(shape)
        for number, (name, (shape, dtype)) in enumerate(shapes.items())
    }


def headless(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_none_means_random_weights() -> None:
    assert resolve("none") is None


@pytest.mark.parametrize("classes", [1000, 3, None])
def test_a_torch_file_may_have_any_head_or_none(
    state: dict[str, Tensor], tmp_path: Path, classes: int | None
) -> None:
    given = headless(state)
    if classes:
        given |= {"fc.weight": torch.zeros(1).expand(classes, 512), "fc.bias": torch.zeros(classes)}
    path = tmp_path / "mine.pth"
    torch.save(given, path)
    resolved = resolve(str(path))
    assert resolved is not None
    assert resolved.state.keys() == given.keys()
    assert all(torch.equal(value, given[name]) for name, value in resolved.state.items())
    assert resolved.origin == f"mine.pth, SHA-256 {sha256(path)}"


def test_a_safetensors_file_is_read(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_file({name: value.half().contiguous() for name, value in headless(state).items()}, path)
    resolved = resolve(str(path))
    assert resolved is not None
    assert resolved.state.keys() == headless(state).keys()
    assert resolved.origin == f"mine.safetensors, SHA-256 {sha256(path)}"


def test_weights_of_old_torch_lack_the_batch_counters(state: dict[str, Tensor], tmp_path: Path) -> None:
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    assert resolve(str(tmp_path / "old.pth")) is not None


def test_parameters_that_do_not_fit_are_named(state: dict[str, Tensor], tmp_path: Path) -> None:
    wrong = dict(state)
    wrong["layer4.2.conv2.weight"] = torch.zeros(1).expand(512, 256, 3, 3)
    wrong["extra"] = torch.zeros(1)
    del wrong["bn1.bias"]
    torch.save(wrong, tmp_path / "wrong.pth")
    with pytest.raises(WeightsError) as caught:
        resolve(str(tmp_path / "wrong.pth"))
    message = str(caught.value)
    for part in (
        "no bn1.bias",
        "unknown extra",
        "layer4.2.conv2.weight [512, 256, 3, 3] instead of [512, 512",
    ):
        assert part in message


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, 2))])
def test_a_file_that_would_run_code_is_refused_and_not_run(tmp_path: Path, save: object) -> None:
    trace, path = tmp_path / "ran", tmp_path / "evil.pth"
    save({"conv1.weight": Payload(trace)}, path)  # type: ignore[operator]
    with pytest.raises(WeightsError, match="nothing but tensors, and no code"):
        resolve(str(path))
    assert not trace.exists()
    torch.load(path, weights_only=False) if save is torch.save else pickle.loads(path.read_bytes())
    assert trace.exists()


@pytest.mark.parametrize(
    "name", ["torn.pth", "torn.safetensors", "text.pth", "text.safetensors", "empty.pth"]
)
def test_a_damaged_file_is_a_weights_error_that_names_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("torn"):
        part = {"conv1.weight": torch.zeros(64, 3, 7, 7)}
        save_file(part, path) if path.suffix == ".safetensors" else torch.save(part, path)
        path.write_bytes(path.read_bytes()[:-200])
    else:
        path.write_text("not weights" if name.startswith("text") else "")
    with pytest.raises(WeightsError, match=name):
        resolve(str(path))


@pytest.mark.parametrize("length", range(1, 368, 5))
def test_a_file_of_old_torch_may_end_anywhere(tmp_path: Path, length: int) -> None:
    path = tmp_path / "torn.pth"
    torch.save({"conv1.weight": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(WeightsError, match=r"damaged|nothing but tensors"):
        resolve(str(path))


@pytest.mark.parametrize(
    "values",
    [
        torch.full((64,), float("nan")),
        torch.full((64,), float("inf")),
        torch.full((64,), float("nan")).to(torch.float8_e4m3fn),
        torch.zeros(64, dtype=torch.complex64),
    ],
)
def test_values_that_are_not_finite_numbers_are_named(
    state: dict[str, Tensor], tmp_path: Path, values: Tensor
) -> None:
    torch.save({**state, "bn1.bias": values}, tmp_path / "diverged.pth")
    with pytest.raises(WeightsError, match=r"finite real numbers; found: diverged\.pth: bn1\.bias"):
        resolve(str(tmp_path / "diverged.pth"))


@pytest.mark.parametrize(
    "value", [[torch.zeros(1)], {0: torch.zeros(1)}, {"epoch": 3}, {"state_dict": {"conv1": torch.zeros(1)}}]
)
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, value: object) -> None:
    torch.save(value, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="maps names to tensors"):
        resolve(str(tmp_path / "other.pth"))


@pytest.mark.parametrize("name", ["missing.pth", "missing.safetensors", "", "~no-such-user/weights.pth"])
def test_a_missing_file_is_a_weights_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="cannot be read"):
        resolve(name)


@pytest.fixture
def served(state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A web server with a file in place of torchvision's, and an empty torch cache."""
    folder = tmp_path / "served"
    folder.mkdir()
    torch.save(state, folder / "weights")
    file = (folder / "weights").rename(folder / f"resnet34-{sha256(folder / 'weights')[:8]}.pth")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{file.name}"
        monkeypatch.setattr(ResNet34_Weights.DEFAULT.value, "url", url)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield file
        server.shutdown()


def cached(served: Path, tmp_path: Path) -> Path:
    return tmp_path / "torch" / "hub" / "checkpoints" / served.name


def test_imagenet_weights_are_downloaded_once(served: Path, state: dict[str, Tensor], tmp_path: Path) -> None:
    first = resolve("imagenet")
    assert cached(served, tmp_path).read_bytes() == served.read_bytes()
    served.unlink()
    again = resolve("imagenet")
    for resolved in (first, again):
        assert resolved is not None
        assert resolved.state.keys() == state.keys()
        assert resolved.origin == (
            f"ImageNet, torchvision's {served.name}, SHA-256 {sha256(cached(served, tmp_path))}"
        )


@pytest.mark.parametrize("failure", ["no network", "not found", "other content", "no folder"])
def test_imagenet_weights_out_of_reach_come_with_three_ways_out(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    if failure == "no network":

        def refuse(*_: object, **__: object) -> None:
            raise URLError("no route")

        monkeypatch.setattr(torch.hub, "urlopen", refuse)
    elif failure == "not found":
        served.unlink()
    elif failure == "no folder":
        cached(served, tmp_path).parent.parent.mkdir(parents=True, exist_ok=True)
        cached(served, tmp_path).parent.write_text("a file in its place")
    else:
        served.write_bytes(b"other")
    with pytest.raises(WeightsError) as caught:
        resolve("imagenet")
    message = str(caught.value)
    for part in ("1. Connect", str(cached(served, tmp_path)), "2. --weights PATH", "3. --weights none"):
        assert part in message
    assert not cached(served, tmp_path).exists()


def test_a_damaged_file_in_the_cache_is_named(served: Path, tmp_path: Path) -> None:
    path = cached(served, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(served.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=f"Delete {path}"):
        resolve("imagenet")
