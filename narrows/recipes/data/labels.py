"""Labels of media: a column of a manifest, or the folders that files lie in."""

from pathlib import Path

from narrows.datasets.sources import iterate_items
from narrows.errors import InputError, shortened
from narrows.recipes.data.files import MediaFiles


def labels_of(files: MediaFiles, column: str = "label") -> list[str]:
    """The label of each item: its value in a column of the manifest, or else the name of the folder of its file.

    Raises:
        InputError: for items that all have one label.
    """
    labels = []
    for source in files.listing.sources:
        for item in iterate_items(source, files.medium.name):
            given = item.meta.get(column)
            labels.append(Path(item.location.path).parent.name if given is None else str(given))
    if len(set(labels)) < 2:
        raise InputError(
            f"expected items of several labels, got {shortened(labels[0])} for all; give a manifest with the column "
            f"{shortened(column)}, or a folder for each label"
        )
    return labels
