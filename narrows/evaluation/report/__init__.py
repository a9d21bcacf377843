"""HTML report of results: one page that needs no network, and its plots as image and table files.

index.html        curves, tables, explanations and some of the media
plots/NAME.png    each plot as an image; plots/NAME.csv its values
"""

from narrows.evaluation.base import MediaSample
from narrows.evaluation.report.write import write_report

__all__ = ["MediaSample", "write_report"]
