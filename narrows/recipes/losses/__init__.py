"""Losses between decoded and original signals, scalars to be minimised.

audio, (B, C, T)
    MultiResolutionSTFTLoss     magnitudes of spectrograms with several windows, in bins or mel bands
    ComplexSTFTLoss             complex spectra: keeps the decoded waveform in phase
    MidSide                     a loss of left, right, mid and side of stereo signals
    FrameMagnitudeLoss          magnitudes that a frame decoder predicts, before the signal is decoded
    PhaseConsistencyLoss        phases that a frame decoder predicts, against those of Griffin-Lim
images, (B, 3, H, W) in [-1, 1]
    LaplacianPyramidLoss        normalized Laplacian pyramids: perceptual, without a trained network
    PerceptualLoss              features of a trained network (a Backbone)
    ContrastiveLoss             latents against the embeddings of a trained network
    Backbone                    a frozen network of timm with trained weights, which load_weights loads
video, (B, 3, T, H, W) in [-1, 1]
    OnFrames                    a loss of images on each frame
    FrameDifferenceLoss         differences between consecutive frames: flicker
of classifiers
    FeatureMatchingDistillation     features of two networks
    KnowledgeDistillation           logits with labels and with the logits of a teacher
latents, (B, d, *grid)
    EquivarianceLoss            latents that follow a transform of the signal
    LatentMap                   a learned transform of latents
    AlignmentLoss               latents against embeddings of any network, or labels
    LatentReconstructionLoss    latents against those of a frozen codec
of discriminators
    hinge_discriminator_loss, hinge_generator_loss, mean_generator_loss, feature_matching_loss,
    adaptive_weight

Any `torch.nn.Module` of a decoded and an original signal, such as `torch.nn.L1Loss()`, can be a loss of a recipe.
"""

from narrows.recipes.losses.adversarial import (
    adaptive_weight,
    feature_matching_loss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    mean_generator_loss,
)
from narrows.recipes.losses.backbone import Backbone, load_weights
from narrows.recipes.losses.contrastive import ContrastiveLoss
from narrows.recipes.losses.distillation import FeatureMatchingDistillation, KnowledgeDistillation
from narrows.recipes.losses.frames import FrameMagnitudeLoss, PhaseConsistencyLoss
from narrows.recipes.losses.images import LaplacianPyramidLoss
from narrows.recipes.losses.perceptual import PerceptualLoss
from narrows.recipes.losses.stft import ComplexSTFTLoss, MidSide, MultiResolutionSTFTLoss
from narrows.recipes.losses.structure import AlignmentLoss, EquivarianceLoss, LatentMap, LatentReconstructionLoss
from narrows.recipes.losses.videos import FrameDifferenceLoss, OnFrames

__all__ = [
    "AlignmentLoss",
    "Backbone",
    "ComplexSTFTLoss",
    "ContrastiveLoss",
    "EquivarianceLoss",
    "FeatureMatchingDistillation",
    "FrameDifferenceLoss",
    "FrameMagnitudeLoss",
    "KnowledgeDistillation",
    "LaplacianPyramidLoss",
    "LatentMap",
    "LatentReconstructionLoss",
    "MidSide",
    "MultiResolutionSTFTLoss",
    "OnFrames",
    "PerceptualLoss",
    "PhaseConsistencyLoss",
    "adaptive_weight",
    "feature_matching_loss",
    "hinge_discriminator_loss",
    "hinge_generator_loss",
    "load_weights",
    "mean_generator_loss",
]
