"""The pictures of a search: which there are, as PNG files and as drawings inside the page."""

from pathlib import Path

from triscale.report.search.baseline_figures import baseline_pictures
from triscale.report.search.coefficients_figures import coefficient_pictures
from triscale.report.search.picture import Picture
from triscale.report.search.records import SearchResults
from triscale.report.search.study_figures import study_pictures
from triscale.report.search.summaries import BaselineSearch, CoefficientSearch, Study
from triscale.storage import atomic_path


def pictures(results: SearchResults) -> tuple[Picture, ...]:
    """All for which there is something to draw."""
    match results.summary:
        case Study() as study:
            return study_pictures(study)
        case CoefficientSearch() as search:
            return coefficient_pictures(search)
        case BaselineSearch() as search:
            return baseline_pictures(search)


def draw(results: SearchResults, folder: Path) -> list[Path]:
    """Write a PNG for each picture into `folder`; returns their paths, none where nothing has a score yet."""
    paths = []
    for picture in pictures(results):
        path = folder / f"{picture.file}.png"
        with atomic_path(path) as temporary:
            picture.whole().savefig(temporary, format="png", dpi=100, facecolor="white")
        paths.append(path)
    return paths
