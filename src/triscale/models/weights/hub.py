"""Files of the Hugging Face Hub: fetched by huggingface_hub, verified here, and kept in its cache.

Its environment variables hold: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_OFFLINE`, `HF_TOKEN`,
`HF_HUB_DISABLE_PROGRESS_BARS`.
"""

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from triscale.download import DownloadError

PREFIXES = ("hf-hub:", "hf_hub:")
"""What a name that means a repository begins with; timm takes both as well."""

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubRepo:
    """A model repository, at a branch, a tag or a commit."""

    name: str
    """`owner/name`."""
    revision: str | None = None
    """None for the main branch."""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.name) or ".." in self.name or "--" in self.name:
            raise ValueError(f"a repository of the hub is called owner/name, got {self.name!r}")
        if self.revision is not None and (not _REVISION.fullmatch(self.revision) or ".." in self.revision):
            raise ValueError(f"{self.revision!r} is no branch, tag or commit of {self.name}")

    @property
    def source(self) -> str:
        """How `load` is asked for it."""
        return PREFIXES[0] + self.name + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A verified file in the cache."""

    path: Path
    commit: str
    """Of the repository; empty where the cache does not tell."""


def parse_hub_name(text: str) -> HubRepo:
    """The repository that `hf-hub:owner/name` or `hf-hub:owner/name@revision` means.

    Raises ValueError for anything else.
    """
    prefix = next((prefix for prefix in PREFIXES if text.startswith(prefix)), None)
    if prefix is None:
        raise ValueError(f"{text!r} does not begin with {PREFIXES[0]}")
    name, at, revision = text.removeprefix(prefix).partition("@")
    return HubRepo(name, revision if at else None)


def fetch(repo: HubRepo, file: str, *, endpoint: str | None = None, cache_dir: Path | None = None) -> HubFile | None:
    """`file` of `repo`, from the cache where it is the newest already, else downloaded; None where `repo` lacks it.

    A connection that breaks is resumed. Content that does not match the hub's checksum is deleted, also when it
    lay in the cache, so that no later call sees it. Raises DownloadError (an OSError and a ValueError), in one line,
    for whatever goes wrong on the way.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        with _one_warning():
            downloaded = hf_hub_download(
                repo.name, file, revision=repo.revision, endpoint=endpoint, cache_dir=cache_dir
            )
    except LocalEntryNotFoundError as error:
        raise DownloadError(_unreachable(repo, file, error, endpoint)) from None
    except EntryNotFoundError:
        return None
    except Exception as error:
        # Each release of huggingface_hub brings the errors of another transport (requests, httpx, httpx2, hf_xet).
        raise DownloadError(_refused(repo, file, error)) from None
    path = Path(downloaded)
    _verify(path, repo, file)
    commit = path.relative_to(path.parents[file.count("/") + 1]).parts[0]
    return HubFile(path, commit if _COMMIT.fullmatch(commit) else "")


class _First(logging.Filter):
    """Lets one record pass."""

    passed = False

    def filter(self, _: logging.LogRecord) -> bool:
        first, self.passed = not self.passed, True
        return first


@contextmanager
def _one_warning() -> Iterator[None]:
    """Let huggingface_hub say once that it tries again, not at each of a dozen attempts."""
    filters = [(handler, _First()) for handler in logging.getLogger("huggingface_hub").handlers]
    for handler, first in filters:
        handler.addFilter(first)
    try:
        yield
    finally:
        for handler, first in filters:
            handler.removeFilter(first)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _unreachable(repo: HubRepo, file: str, error: Exception, endpoint: str | None) -> str:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return f"{repo.source}: {file} is not in the cache and HF_HUB_OFFLINE forbids a download; unset it"
    cause = error.__cause__
    reason = f" ({_first_line(cause)})" if cause is not None else ""
    return (
        f"{repo.source}: cannot reach {endpoint or constants.ENDPOINT}{reason}, and {file} is not in the cache;"
        " check the connection, or set HF_ENDPOINT to a mirror"
    )


def _refused(repo: HubRepo, file: str, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return f"{repo.source}: the repository is gated; accept its terms on the hub, then run `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return f"{repo.source}: no such repository, or a private one; for that run `hf auth login`"
    if isinstance(error, RevisionNotFoundError):
        return f"{repo.source}: the repository has no revision {repo.revision}"
    return f"{repo.source}: {file} was not downloaded: {_first_line(error)}; try again"


def _digest(path: Path, like: str) -> str:
    """The content's checksum of the kind that `like` is: sha256 for large files, git's own for small ones."""
    with path.open("rb") as file:
        if len(like) == 64:
            return hashlib.file_digest(file, "sha256").hexdigest()
        header = f"blob {path.stat().st_size}\0".encode()
        digest = hashlib.sha1(header, usedforsecurity=False)
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _verify(path: Path, repo: HubRepo, file: str) -> None:
    """Compare the content with the checksum that its blob in the cache is named by; delete it where they differ."""
    if not path.is_symlink():
        # Where links cannot be made the cache keeps no checksum, and the download's length has to do.
        return
    # One step only: the blob itself may be a link into a store that names files by other checksums.
    blob = path.parent / path.readlink()
    expected = blob.name
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", expected):
        return
    actual = _digest(path, expected)
    if actual != expected:
        for damaged in (path.resolve(), blob, path):
            damaged.unlink(missing_ok=True)
        raise DownloadError(f"{repo.source}: {file} does not match its checksum {expected} and was deleted; try again")
