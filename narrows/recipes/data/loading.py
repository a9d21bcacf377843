"""Batches of crops for training."""

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from narrows.recipes.settings import AudioData, ImageData


def crop_loader(crops: Dataset[Tensor], data: AudioData | ImageData) -> DataLoader[Tensor]:
    """Batches of crops in their order, loaded as the settings say.

    Args:
        crops: Crops of one shape; they are random already, so they are not shuffled.
        data: Batch size and number of loading processes.

    Returns:
        A loader of batches (B, C, *signal); the last one may be smaller.
    """
    return DataLoader(crops, batch_size=data.batch_size, num_workers=data.workers, pin_memory=torch.cuda.is_available())
