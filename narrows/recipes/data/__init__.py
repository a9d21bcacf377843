"""Training data from folders of media files and all other sources that `codec tokenize` reads.

AudioFiles, ImageFiles, VideoFiles      the items of sources, which are only listed; each is read when it is drawn
AudioCrops, ImageCrops, VideoCrops      random crops of them; a crop depends on seed and number alone
LabelledImages, LabelledBatches, LabelledItems      images with labels, and their batches for training and validation
crop_loader                             batches of crops, each step its own, for one epoch after the other
whole_loader                            whole files, for validation
Transform                               a transform of signals with parameters, such as a gain
transform, transform_names              a transform of a medium by its name, and all names
"""

from narrows.recipes.data.audio import AudioCrops, AudioFiles
from narrows.recipes.data.images import ImageCrops, ImageFiles
from narrows.recipes.data.labelled import LabelledBatches, LabelledImages, LabelledItems
from narrows.recipes.data.loading import crop_loader, whole_loader
from narrows.recipes.data.transforms import Transform, transform, transform_names
from narrows.recipes.data.videos import VideoCrops, VideoFiles

__all__ = [
    "AudioCrops",
    "AudioFiles",
    "ImageCrops",
    "ImageFiles",
    "LabelledBatches",
    "LabelledImages",
    "LabelledItems",
    "Transform",
    "VideoCrops",
    "VideoFiles",
    "crop_loader",
    "transform",
    "transform_names",
    "whole_loader",
]
