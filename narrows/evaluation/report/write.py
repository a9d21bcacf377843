"""Writing a report into a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from narrows.evaluation.bands import Bands
from narrows.evaluation.base import Sample
from narrows.evaluation.metrics.codebooks import CodebookUse
from narrows.evaluation.report.media import embed
from narrows.evaluation.report.page import page
from narrows.evaluation.report.plots import by_band, by_flips, rate_quality
from narrows.evaluation.report.png import picture
from narrows.evaluation.results import Results
from narrows.media.atomic import write_bytes, written_beside


def write_report(
    results: Results,
    folder: Path,
    samples: Sequence[Sample] = (),
    *,
    bands: Mapping[str, Bands] | None = None,
    flipped: Mapping[str, Results] | None = None,
    codebooks: Mapping[str, Sequence[CodebookUse]] | None = None,
    overwrite: bool = False,
) -> None:
    """Write index.html and the plots of `results` into a folder, which is made where it is missing.

    samples: a few items whose media go into the page as far as they fit, each point's in the order given. The page is
    smaller than 8 MB, asks the network for nothing, and names what was left out. bands, codebooks: by the names of
    points. flipped: results with flipped bits, whose points' settings are the shares, by the names of the points
    without. The same arguments make the same bytes, sound embedded as Opus with one version of FFmpeg.

    Raises MediaError where a file cannot be written, or exists without `overwrite`, and InputError for samples of two
    media.
    """
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    with written_beside(folder / "index.html", overwrite=overwrite) as file:
        summaries = results.summary()
        curves = rate_quality(results, summaries)
        more = (by_band(bands) if bands else []) + (by_flips(flipped) if flipped else [])
        names = {plot.name for plot in (*curves, *more)}
        for old in (folder / "plots").iterdir():  # of an earlier report, of other metrics
            if old.suffix in (".png", ".csv") and old.stem not in names and overwrite:
                old.unlink()
        for plot in (*curves, *more):
            write_bytes(folder / "plots" / f"{plot.name}.png", picture(plot), overwrite=overwrite)
            write_bytes(folder / "plots" / f"{plot.name}.csv", plot.as_csv(), overwrite=overwrite)
        file.write(page(results, summaries, curves, more, embed(samples), codebooks or {}).encode())
