"""Initialises a frame codec as a PCA of its training data's log spectra.

The linear paths of encoder and decoder become the principal components of the log spectra, one component for each
scalar of the FSQ, the largest components in the first codebooks. The networks then learn what a linear codec misses.
From random weights, the same quality takes many times as many steps, because most scalars first collapse onto the
loudness.
"""

import torch
from torch import Tensor

from narrows.codecs.audio.frames import FrameDecoder, FrameEncoder
from narrows.codecs.bottlenecks.fsq import FSQ
from narrows.codecs.codec import Codec
from narrows.errors import InputError
from narrows.recipes.data.audio import AudioFiles

DEVIATION = 0.75  # standard deviation of a scalar before the tanh of FSQ: uses all levels about equally
RANDOM_FRACTION = 0.02  # by which the random weights are scaled before the components are added
MAX_FRAMES = 50_000  # latent frames that the PCA is computed from
MAX_SECONDS = 10.0  # of each recording
MIN_POWER = 1e-6  # smallest power of a component as a fraction of the largest


@torch.no_grad()
def initialize_pca(codec: Codec, files: AudioFiles) -> None:
    """Set the linear paths and projections of a frame codec with FSQ.

    Args:
        codec: Codec to initialise.
        files: Its training data, at its sample rate.

    Raises:
        InputError: For a codec with other parts or with more FSQ scalars than latent channels, or for recordings that
            are too short or silent.
    """
    encoder, bottleneck, decoder = codec.encoder, codec.bottleneck, codec.decoder
    if not (isinstance(encoder, FrameEncoder) and isinstance(bottleneck, FSQ) and isinstance(decoder, FrameDecoder)):
        raise InputError(
            "expected FrameEncoder, FSQ and FrameDecoder for the PCA initialisation, "
            f"got {', '.join(type(part).__name__ for part in (encoder, bottleneck, decoder))}; "
            "set pca_initialization=False for other parts"
        )
    count = sum(bottleneck.sizes)
    if count > bottleneck.dim:
        raise InputError(f"expected at least {count} latent channels for {count} FSQ scalars, got {bottleneck.dim}")
    frames = _frames(encoder, files)
    mean = frames.mean(0)
    if len(frames) <= count or float(frames.std()) < 1e-3:
        raise InputError(
            f"expected more than {count} frames of recordings that are not silent, got {len(frames)} frames with a "
            f"standard deviation of {float(frames.std()):.2g}; give more data"
        )
    values, vectors = torch.linalg.eigh((frames - mean).T @ (frames - mean) / len(frames))
    deviations = values.flip(0)[:count].clamp(min=MIN_POWER * float(values[-1])).sqrt()
    components = vectors.flip(1)[:, :count]  # (fold (2 hop + 1), count)
    set_projections(bottleneck)
    for layer in (encoder.linear, decoder.linear):
        layer.weight.mul_(RANDOM_FRACTION)
        layer.bias.zero_()
    encoder.linear.weight[:count] = (components / deviations).T.float()
    encoder.linear.bias[:count] = -(mean @ (components / deviations)).float()
    decoder.linear.weight[:, :count] = (components * deviations).float()
    decoder.linear.bias.copy_(mean.float())
    encoder.out.weight.mul_(0.1)
    encoder.out.bias.zero_()
    logs = decoder.sizes[0]
    decoder.out.weight[:logs].mul_(0.1)
    decoder.out.bias[:logs].zero_()


def _frames(encoder: FrameEncoder, files: AudioFiles) -> Tensor:
    """Log spectra (N, fold (2 hop + 1)) of the first 10 seconds of random recordings, float64."""
    found, total = [], 0
    for _, recording in files.readable(files.shuffled(), lambda index: files.read(files.source(index), MAX_SECONDS)):
        x = torch.from_numpy(recording)
        x = x[:, : x.shape[1] // encoder.stride[0] * encoder.stride[0]]
        if x.shape[1]:
            spectra = encoder.spectra(x.expand(1, encoder.channels, -1))
            found.append(encoder.log_magnitudes(spectra)[0, ::2].double())
            total += len(found[-1])
        if total > MAX_FRAMES:
            break
    if not found:
        raise InputError("expected recordings of at least one frame, got shorter ones only; give longer recordings")
    return torch.cat(found)


@torch.no_grad()
def set_projections(bottleneck: FSQ) -> None:
    """Let each scalar be one of the first channels of the latents, whose values have the standard deviation 1."""
    count = sum(bottleneck.sizes)
    gain, offset = _dequantization(bottleneck)
    for layer in (bottleneck.project_in, bottleneck.project_out):
        layer.weight.mul_(RANDOM_FRACTION)
        layer.bias.zero_()
    bottleneck.project_in.weight[:, :count] += DEVIATION * torch.eye(count)
    bottleneck.project_out.weight[:count] += torch.diag(gain / DEVIATION).float()
    bottleneck.project_out.bias[:count] = (offset / DEVIATION).float()


def _dequantization(bottleneck: FSQ) -> tuple[Tensor, Tensor]:
    """Gain and offset of the linear map from each quantized scalar to its input, by least squares.

    The input is normal with the standard deviation `DEVIATION`.
    """
    quantiles = torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64)
    inputs = (DEVIATION * torch.special.ndtri(quantiles)).unsqueeze(1)  # (1000, 1)
    outputs = (torch.tanh(inputs + bottleneck.shift) * bottleneck.scale - bottleneck.offset).round() / bottleneck.centre
    gain = (outputs * inputs).mean(0) / outputs.square().mean(0)
    return gain, (inputs - outputs * gain).mean(0)
