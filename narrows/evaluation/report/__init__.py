"""HTML report of results: one page that needs no network, and its plots as image and table files.

index.html        curves, tables, explanations and some of the media
plots/NAME.png    each plot as an image; plots/NAME.csv its values

write_report, MediaSample         writes a report; the media of one item in it
write, page                       the files, the page
html_tables, plots, png           tables, plots as data and as PNG
narrows.report                    elements, plots as SVG, players and images
"""

from narrows.evaluation.report.write import write_report
from narrows.report.embedding import MediaSample

__all__ = ["MediaSample", "write_report"]
