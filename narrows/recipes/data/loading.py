"""Loaders of training and validation data.

Each step of a run has its own crops, by their numbers: rank r of R takes the crops (step · R + r) · batch_size and
following. So a resumed run, one with other workers and one with other validations get the same crops.
"""

import gc
import signal
from collections.abc import Callable, Iterator
from typing import Any

import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from narrows.codecs import distributed as ranks
from narrows.recipes.data.crops import RandomCrops
from narrows.recipes.data.files import MediaFiles, WholeFiles
from narrows.recipes.settings import AudioData, ImageData, LabelledData, VideoData

GRACE = 10  # seconds that a loading process still works after a SIGTERM


class StepBatches(Sampler[list[int]]):
    """The numbers of this rank's crops, a list for each step.

    Args:
        steps: Returns the steps to load; called when an iteration starts.
        batch_size: Crops per step and rank.
    """

    def __init__(self, steps: Callable[[], range], batch_size: int) -> None:
        self.steps, self.batch_size = steps, batch_size

    def __len__(self) -> int:
        return len(self.steps())

    def __iter__(self) -> Iterator[list[int]]:
        firsts = [(step * ranks.count() + ranks.rank()) * self.batch_size for step in self.steps()]
        return (list(range(first, first + self.batch_size)) for first in firsts)


def crop_loader(
    crops: Dataset[Any], data: AudioData | ImageData | VideoData | LabelledData, steps: Callable[[], range]
) -> DataLoader[Any]:
    """Batches of crops (B, C, *signal), or of what else a data set holds, loaded as the settings say.

    Use one loader for the whole run: its workers and what they keep then stay from one epoch to the next.

    Args:
        crops: Crops of one shape, drawn at random by their number, so that they are not shuffled.
        data: Batch size per rank and number of loading processes.
        steps: Returns the steps of the next epoch.
    """
    if isinstance(crops, RandomCrops):
        crops.batch_size, crops.ranks = data.batch_size, ranks.count()
    return DataLoader(
        crops,
        batch_sampler=StepBatches(steps, data.batch_size),
        num_workers=data.workers,
        persistent_workers=data.workers > 0,
        worker_init_fn=begin_worker,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # the default one is left to the codec's noise
    )


def whole_loader(files: MediaFiles) -> DataLoader[NDArray[Any]]:
    """Whole recordings (1, C, T), images (1, 3, H, W) or clips (1, 3, T, H, W) of this rank, one at a time."""
    return DataLoader(WholeFiles(files), batch_size=1, generator=torch.Generator())


def begin_worker(worker: int) -> None:
    """Let a loading process serve the last step of a run that Ctrl-C or SIGTERM ends, if they reach all its processes.

    Nor does it collect what the main process has left: a file of video has threads, which only exist there, and closing
    it here would wait for them without an end.

    Args:
        worker: Number of the process, which is not used.
    """
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):  # not on Windows
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))
