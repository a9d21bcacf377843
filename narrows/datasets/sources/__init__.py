"""What a data set holds, whatever it is kept in: items by key, and the bytes of each.

listing.py     which kind of source a path is, and all its entries
folders.py     files of media; how keys are made of names
manifests.py   JSON lines, CSV, TSV, Kaldi's wav.scp
tars.py        WebDataset tars
tables.py      Parquet, Arrow streams of Hugging Face's `save_to_disk`
reading.py     the bytes of an entry
"""

from narrows.datasets.sources.listing import entries
from narrows.datasets.sources.reading import opened

__all__ = ["entries", "opened"]
