"""Writes a report into a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from narrows.evaluation.bands import BandDistortion
from narrows.evaluation.by_medium import EVALUATIONS
from narrows.evaluation.report.page import page
from narrows.evaluation.report.plots import band_plots, bit_flip_plots, rate_quality_plots
from narrows.evaluation.report.png import plot_png
from narrows.evaluation.results import Results
from narrows.media.atomic import atomic_write, write_bytes
from narrows.report.embedding import MediaSample, embed


def write_report(
    results: Results,
    folder: Path,
    samples: Sequence[MediaSample] = (),
    *,
    bands: Mapping[str, BandDistortion] | None = None,
    bit_flips: Mapping[str, Results] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes index.html and the plots of results.

    The page is smaller than 8 MB, with video than 32 MB, and loads nothing from the network. Equal arguments give equal
    bytes (audio embedded as Opus, and video: with one version of FFmpeg).

    Args:
        results: The results.
        folder: Folder to write to; it is created if it does not exist.
        samples: Items whose media the page embeds, as many as fit; the page names the others.
        bands: Distortion by frequency, by operating point.
        bit_flips: Results with bit flips, whose settings are the probabilities, by the point without bit flips.
        overwrite: Whether existing files are replaced and plots of an earlier report removed.

    Raises:
        MediaError: A file cannot be written, or exists and `overwrite` is False.
        InputError: The samples are of more than one medium.
    """
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "index.html", overwrite=overwrite) as file:
        summaries = results.summaries()
        curves = rate_quality_plots(results, summaries)
        more = (band_plots(bands) if bands else []) + (bit_flip_plots(bit_flips) if bit_flips else [])
        names = {plot.name for plot in (*curves, *more)}
        for old in (folder / "plots").iterdir():
            if old.suffix in (".png", ".csv") and old.stem not in names and overwrite:
                old.unlink()
        for plot in (*curves, *more):
            write_bytes(folder / "plots" / f"{plot.name}.png", plot_png(plot), overwrite=overwrite)
            write_bytes(folder / "plots" / f"{plot.name}.csv", plot.as_csv(), overwrite=overwrite)
        evaluation = EVALUATIONS[results.medium]
        embedded = embed(samples, evaluation.encodings, evaluation.budget)
        file.write(page(results, summaries, curves, more, embedded).encode())
