"""Training runs as Python functions with typed defaults: `codec train RECIPE` runs one, `run(recipe, folder)` too.

run                                 trains a recipe
AudioRecipe                         a run of an audio codec
ImageTokenizerRecipe                a run of an image tokenizer with one rate
FeatureAutoencoderRecipe            a run of a feature auto-encoder on a frozen vision encoder
RateDistortionRecipe                a run of an image codec with an entropy model, for all qualities
VideoTokenizerRecipe, VideoRateDistortionRecipe     the same two of video
ReBottleneckRecipe                  a run of another latent space for a finished codec
NarrowedClassifierRecipe, KeyValueRecipe                    those of classifiers of images with codes inside
Recipe, Training                    base classes for another kind of run
AdamW, Schedule, Adversarial, AudioData, ImageData, VideoData, LabelledData, LatentData, Prediction   settings

speech.py  audio.py  image.py  image_tokenizer.py  feature_autoencoder.py  video.py  finetune.py
rebottleneck.py     the recipes
narrowed_classifier.py  key_value_classifier.py                 those of classifiers, on classifier_networks.py
registry.py         what `codec train` is given → the function of the recipe
settings.py         the settings
losses/             MultiResolutionSTFTLoss, PerceptualLoss ...
discriminators/     MultiPeriodDiscriminator, PatchGANDiscriminator ...
data/               files and crops of training data
initialization/     weights to start with: a PCA of the data, a lapped transform
training/           how a run is trained: recipes with their Lightning modules, and `run`
"""

from typing import TYPE_CHECKING

from narrows.lazy import lazy

if TYPE_CHECKING:
    from narrows.recipes.settings import (
        AdamW,
        Adversarial,
        AudioData,
        ImageData,
        LabelledData,
        LatentData,
        Prediction,
        Schedule,
        VideoData,
    )
    from narrows.recipes.training.audio import AudioRecipe
    from narrows.recipes.training.base import Recipe, Training
    from narrows.recipes.training.feature_autoencoder import FeatureAutoencoderRecipe
    from narrows.recipes.training.image_tokenizer import ImageTokenizerRecipe
    from narrows.recipes.training.key_value import KeyValueRecipe
    from narrows.recipes.training.narrowed_classifier import NarrowedClassifierRecipe
    from narrows.recipes.training.rate_distortion import RateDistortionRecipe
    from narrows.recipes.training.rebottleneck import ReBottleneckRecipe
    from narrows.recipes.training.run import run
    from narrows.recipes.training.video_rate_distortion import VideoRateDistortionRecipe
    from narrows.recipes.training.video_tokenizer import VideoTokenizerRecipe

__all__ = [
    "AdamW",
    "Adversarial",
    "AudioData",
    "AudioRecipe",
    "FeatureAutoencoderRecipe",
    "ImageData",
    "ImageTokenizerRecipe",
    "KeyValueRecipe",
    "LabelledData",
    "LatentData",
    "NarrowedClassifierRecipe",
    "Prediction",
    "RateDistortionRecipe",
    "ReBottleneckRecipe",
    "Recipe",
    "Schedule",
    "Training",
    "VideoData",
    "VideoRateDistortionRecipe",
    "VideoTokenizerRecipe",
    "run",
]

_MODULES = {
    "AdamW": "settings",
    "Adversarial": "settings",
    "AudioData": "settings",
    "AudioRecipe": "training.audio",
    "ImageData": "settings",
    "VideoData": "settings",
    "VideoRateDistortionRecipe": "training.video_rate_distortion",
    "VideoTokenizerRecipe": "training.video_tokenizer",
    "FeatureAutoencoderRecipe": "training.feature_autoencoder",
    "ImageTokenizerRecipe": "training.image_tokenizer",
    "KeyValueRecipe": "training.key_value",
    "LabelledData": "settings",
    "NarrowedClassifierRecipe": "training.narrowed_classifier",
    "Prediction": "settings",
    "RateDistortionRecipe": "training.rate_distortion",
    "LatentData": "settings",
    "ReBottleneckRecipe": "training.rebottleneck",
    "Recipe": "training.base",
    "Schedule": "settings",
    "Training": "training.base",
    "run": "training.run",
}


if not TYPE_CHECKING:  # type checkers know the names from the imports above
    __getattr__, __dir__ = lazy(__name__, _MODULES, dict.fromkeys(_MODULES, "train"))
