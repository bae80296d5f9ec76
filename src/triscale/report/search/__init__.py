"""What a search found, as pictures, tables and one HTML page, all from its results.json."""

from triscale.report.search.page import write_page
from triscale.report.search.pictures import draw
from triscale.report.search.read import read_results
from triscale.report.search.records import Kind, SearchResults
from triscale.report.search.tables import study_table, table3
from triscale.report.search.trials import write_csv

__all__ = ["Kind", "SearchResults", "draw", "read_results", "study_table", "table3", "write_csv", "write_page"]
