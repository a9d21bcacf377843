"""The items of data sets in any storage: their keys, and the bytes of each.

list_items      the items of one source or several (listing.py, which recognises their kind)
iterate_items   the same, one after another, without a look at their keys
open_item       the bytes of an item, or its path (reading.py)

media_files.py  media files; how keys are made from names
manifests.py    JSON lines, CSV, TSV, Kaldi's wav.scp
webdataset.py   WebDataset tars
columnar.py     Parquet files, Arrow streams of Hugging Face's `save_to_disk`
"""

from narrows.datasets.sources.listing import iterate_items, list_items
from narrows.datasets.sources.reading import open_item

__all__ = ["iterate_items", "list_items", "open_item"]
