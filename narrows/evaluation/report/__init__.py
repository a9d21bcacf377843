"""A report of results: one page that needs no network, and its plots as pictures and tables.

index.html        curves, tables, explanations, and some of the media themselves
plots/NAME.png    each plot for a document; plots/NAME.csv its numbers
"""

from narrows.evaluation.base import Sample
from narrows.evaluation.report.write import write_report

__all__ = ["Sample", "write_report"]
