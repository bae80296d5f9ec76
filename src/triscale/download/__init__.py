"""Files from plain web addresses: fetched whole, verified, resumed where a connection broke, and kept in a cache."""

from triscale.download.cached import (
    LARGEST_FILE as LARGEST_FILE,
    DownloadError as DownloadError,
    NotThereError as NotThereError,
    Patience as Patience,
    Report as Report,
    cache_folder as cache_folder,
    cached_path as cached_path,
    download as download,
)
