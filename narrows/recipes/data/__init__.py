"""Training data from folders of media files.

AudioFiles, ImageFiles      the files of a folder, decoded on first use
AudioCrops, ImageCrops      random crops of them; a crop depends on seed and number alone
crop_loader                 batches of crops, each step its own, for one epoch after the other
whole_loader                whole files, for validation
"""

from narrows.recipes.data.audio import AudioCrops, AudioFiles
from narrows.recipes.data.images import ImageCrops, ImageFiles
from narrows.recipes.data.loading import crop_loader, whole_loader

__all__ = ["AudioCrops", "AudioFiles", "ImageCrops", "ImageFiles", "crop_loader", "whole_loader"]
