"""HTML report of results: one page that needs no network, and its plots as image and table files.

index.html        curves, tables, explanations and some of the media
plots/NAME.png    each plot as an image; plots/NAME.csv its values

write_report, MediaSample         writes a report; the media of one item in it
write, page, markup               the files, the page, HTML elements
html_tables, media_section        tables, players and images
plots, svg, png, number_format    plots as data, as SVG and PNG; numbers as text
"""

from narrows.evaluation.base import MediaSample
from narrows.evaluation.report.write import write_report

__all__ = ["MediaSample", "write_report"]
