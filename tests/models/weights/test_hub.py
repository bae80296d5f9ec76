"""Files of the Hugging Face Hub, from a server on loopback that answers as it does and breaks as told."""

import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import huggingface_hub
import pytest
from safetensors.torch import save

from tests.models.weights.equality import randomised
from tests.models.weights.hub_server import COMMIT, HubServer, Stored, running_hub
from triscale.arch import Preprocessing, square
from triscale.download import DownloadError
from triscale.models import Model, ModelCard, save_model
from triscale.models.weights import Library, load, loading, timm_spec, to_peer
from triscale.models.weights.hub import HubFile, HubRepo, fetch, parse_hub_name

NAME = "someone/tiny"
REPO = HubRepo(NAME)
WEIGHTS = "model.safetensors"
BODY = bytes(range(256)) * 4000
"""About 1 MB, so that a connection can break in the middle."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A fresh hub, reached without whatever proxy the machine uses; its client does not wait between attempts."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setattr(time, "sleep", lambda _: None)
    huggingface_hub.close_session()
    with running_hub() as server:
        yield server
    huggingface_hub.close_session()


class Cache:
    """A cache of its own, and what lies in it."""

    def __init__(self, hub: HubServer, folder: Path) -> None:
        self.hub, self.folder = hub, folder

    def fetch(self, name: str = WEIGHTS, repo: HubRepo = REPO) -> HubFile | None:
        return fetch(repo, name, endpoint=self.hub.address, cache_dir=self.folder)

    def contents(self) -> list[Path]:
        """Files that hold content, whole or in part."""
        found = self.folder.rglob("*")
        return [path for path in found if path.is_file() and {"blobs", "snapshots"} & set(path.parts)]


@pytest.fixture
def cache(hub: HubServer, tmp_path: Path) -> Cache:
    return Cache(hub, tmp_path / "cache")


@pytest.fixture
def weights(hub: HubServer) -> Stored:
    return hub.put(NAME, WEIGHTS, BODY, large=True)


@pytest.mark.usefixtures("weights")
def test_files_arrive_once_and_stay_in_the_cache(cache: Cache, hub: HubServer) -> None:
    hub.put(NAME, "config.json", b"{}")
    first, config = cache.fetch(), cache.fetch("config.json")
    assert first is not None
    assert config is not None
    assert first.path.read_bytes() == BODY
    assert config.path.read_bytes() == b"{}"
    assert first.commit == config.commit == COMMIT
    before = len(hub.downloads())
    assert cache.fetch() == first
    assert len(hub.downloads()) == before


@pytest.mark.usefixtures("weights")
def test_a_commit_in_the_cache_needs_no_server(cache: Cache, hub: HubServer) -> None:
    first = cache.fetch()
    hub.requests.clear()
    assert cache.fetch(repo=HubRepo(NAME, COMMIT)) == first
    assert hub.requests == []


def test_a_broken_connection_is_resumed_where_it_broke(cache: Cache, hub: HubServer) -> None:
    # huggingface_hub keeps whole pieces of 10 MiB.
    piece = 10 << 20
    weights = hub.put(NAME, WEIGHTS, os.urandom(1 << 20) * 24, large=True)
    weights.drops = [piece + 1000, piece + 2000]
    found = cache.fetch()
    assert found is not None
    assert found.path.read_bytes() == weights.body
    starts = [request.range for request in hub.downloads() if request.path.startswith("/storage/")]
    assert starts == [None, f"bytes={piece}-", f"bytes={2 * piece}-"]


def test_a_connection_that_never_holds_leaves_nothing_behind(cache: Cache, weights: Stored) -> None:
    weights.drops = [0] * 50
    with pytest.raises(
        DownloadError, match=r"^hf-hub:someone/tiny: model.safetensors was not downloaded: .*try again$"
    ):
        cache.fetch()
    assert cache.contents() == []
    weights.drops = []
    found = cache.fetch()
    assert found is not None
    assert found.path.read_bytes() == BODY


@pytest.mark.parametrize("large", [True, False])
def test_wrong_content_is_deleted(cache: Cache, hub: HubServer, large: bool) -> None:
    stored = hub.put(NAME, WEIGHTS, BODY, large=large)
    stored.corrupt = True
    with pytest.raises(DownloadError, match=f"does not match its checksum {stored.checksum}"):
        cache.fetch()
    assert cache.contents() == []
    stored.corrupt = False
    found = cache.fetch()
    assert found is not None
    assert found.path.read_bytes() == BODY


@pytest.mark.usefixtures("weights")
def test_a_file_damaged_in_the_cache_is_never_returned(cache: Cache) -> None:
    found = cache.fetch()
    assert found is not None
    found.path.write_bytes(BODY[:-1] + b"x")
    with pytest.raises(DownloadError, match="does not match its checksum"):
        cache.fetch()
    again = cache.fetch()
    assert again is not None
    assert again.path.read_bytes() == BODY


@pytest.mark.usefixtures("weights")
def test_what_a_repository_lacks(cache: Cache) -> None:
    assert cache.fetch("other.bin") is None
    with pytest.raises(DownloadError, match="hf-hub:someone/tiny@v2: the repository has no revision v2"):
        cache.fetch(repo=HubRepo(NAME, "v2"))
    with pytest.raises(DownloadError, match="hf-hub:someone/else: no such repository, or a private one"):
        cache.fetch(repo=HubRepo("someone/else"))


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "GatedRepo", "the repository is gated; accept its terms on the hub, then run `hf auth login`"),
        (401, "", "no such repository, or a private one|was not downloaded: .*401"),
        (403, "", "403"),
        (500, "", "cannot reach http://127.0.0.1:.* is not in the cache"),
        (503, "", "cannot reach http://127.0.0.1:.* is not in the cache"),
    ],
)
def test_refusals_are_one_line(cache: Cache, hub: HubServer, status: int, code: str, message: str) -> None:
    hub.put(NAME, WEIGHTS, BODY, large=True)
    hub.refused[NAME] = (status, code)
    with pytest.raises(DownloadError, match=f"^hf-hub:someone/tiny: .*{message}") as caught:
        cache.fetch()
    assert "\n" not in str(caught.value)
    assert cache.contents() == []


def test_a_server_that_is_not_there(tmp_path: Path, hub: HubServer) -> None:
    with pytest.raises(DownloadError, match=r"cannot reach http://127.0.0.1:9 .*set HF_ENDPOINT to a mirror$"):
        fetch(REPO, WEIGHTS, endpoint="http://127.0.0.1:9", cache_dir=tmp_path)
    assert hub.requests == []


def test_names_of_repositories() -> None:
    assert parse_hub_name("hf-hub:timm/resnet18.a1_in1k") == HubRepo("timm/resnet18.a1_in1k")
    assert parse_hub_name("hf_hub:a/b@refs/pr/1") == HubRepo("a/b", "refs/pr/1")
    assert parse_hub_name("hf-hub:a/b@refs/pr/1").source == "hf-hub:a/b@refs/pr/1"


@pytest.mark.parametrize(
    "name", ["hf-hub:tiny", "hf-hub:../tiny", "hf-hub:a/..", "hf-hub:a/b/c", "hf-hub:a/b@../../c", "hf-hub:a/b@", "a/b"]
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match=r"owner/name|no branch, tag or commit|does not begin with hf-hub:"):
        parse_hub_name(name)


def tiny_weights() -> bytes:
    """Of timm's smallest model, under timm's names."""
    spec = timm_spec("test_efficientnet")
    return save(to_peer(randomised(spec, seed=0).state_dict(), spec, Library.TIMM))


LOAD = """
import sys
from triscale.models.weights import load
for name in sys.argv[1:]:
    try:
        network, card = load(name)
        print(network.spec.name, network.spec.resolution, card.provenance["commit"])
    except ValueError as error:
        print(error)
"""


def run_load(*names: str, **environment: str) -> list[str]:
    """What another process with these environment variables prints of `load`, a line a name."""
    settings = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LOAD, *names]
    env = {**os.environ, **settings, **environment}
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.splitlines()


def test_environment_variables_hold(hub: HubServer, tmp_path: Path) -> None:
    config = {"architecture": "test_efficientnet", "pretrained_cfg": {"input_size": [3, 96, 96]}}
    hub.put(NAME, "config.json", json.dumps(config).encode())
    hub.put(NAME, WEIGHTS, tiny_weights(), large=True)
    home = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.address}
    expected = f"test_efficientnet 96x96 {COMMIT}"
    assert run_load(f"hf-hub:{NAME}", **home) == [expected]
    assert (tmp_path / "home" / "hub").is_dir()
    hub.requests.clear()
    assert run_load(f"hf-hub:{NAME}", "hf-hub:someone/else", **home, HF_HUB_OFFLINE="1") == [
        expected,
        "hf-hub:someone/else: config.json is not in the cache and HF_HUB_OFFLINE forbids a download; unset it",
    ]
    assert hub.requests == []


def test_repeated_attempts_are_mentioned_once(cache: Cache, weights: Stored) -> None:
    weights.drops = [0] * 5
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    logger = logging.getLogger("huggingface_hub")
    logger.addHandler(handler)
    try:
        assert cache.fetch() is not None
    finally:
        logger.removeHandler(handler)
    assert lines.getvalue().count("Error while downloading") == 1


def test_a_model_file_of_ours_on_the_hub(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "fetch", partial(fetch, endpoint=hub.address, cache_dir=tmp_path / "cache"))
    network = randomised(timm_spec("test_efficientnet"), seed=0)
    saved = Model(network, ModelCard(Preprocessing(square(96)), provenance={"recipe": "mine"}))
    save_model(tmp_path / WEIGHTS, *saved)
    hub.put(NAME, WEIGHTS, (tmp_path / WEIGHTS).read_bytes(), large=True)
    loaded = load(f"hf-hub:{NAME}@{COMMIT}")
    assert loaded.card.preprocessing == saved.card.preprocessing
    assert loaded.card.provenance == {"recipe": "mine", "source": f"hf-hub:{NAME}@{COMMIT}", "commit": COMMIT}
    hub.put("someone/empty", "README.md", b"nothing")
    with pytest.raises(ValueError, match=r"hf-hub:someone/empty has neither timm's config.json nor a Triscale model"):
        load("hf-hub:someone/empty")
