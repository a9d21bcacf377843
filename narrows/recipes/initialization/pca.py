"""Where a frame codec starts from: the linear transform codec of its training data.

The straight paths of encoder and decoder become the principal components of the log spectra, one component a scalar of
the FSQ, the largest components in the first groups. From there the networks learn what a linear codec misses; from
random weights the same quality takes many times the steps, as most scalars first collapse onto the loudness.
"""

import torch
from torch import Tensor

from narrows.codecs.audio.frames import FrameDecoder, FrameEncoder
from narrows.codecs.bottlenecks.fsq import FSQ
from narrows.codecs.codec import Codec
from narrows.errors import InputError
from narrows.recipes.data.audio import Recordings

SPREAD = 0.75  # deviation of a scalar before its tanh: fills the levels about evenly
SEED_WEIGHT = 0.02  # what is left of the random weights beside the components
FRAMES = 50_000  # latent frames looked at
LEAST = 1e-6  # of the largest component's power: a smaller one is taken for that large


@torch.no_grad()
def start_linear(codec: Codec, recordings: Recordings) -> None:
    """Set the straight paths and projections of a frame codec with an FSQ from recordings at its rate.

    Raises InputError for a codec of other parts, or with more scalars than latent channels, and for recordings that are
    too short or silent.
    """
    encoder, bottleneck, decoder = codec.encoder, codec.bottleneck, codec.decoder
    if not (isinstance(encoder, FrameEncoder) and isinstance(bottleneck, FSQ) and isinstance(decoder, FrameDecoder)):
        raise InputError(
            "a linear start needs a frame-encoder, an fsq and a frame-decoder; leave it out for other parts"
        )
    count = bottleneck.groups * len(bottleneck.levels)
    if count > bottleneck.dim:
        raise InputError(f"{count} scalars given for {bottleneck.dim} latent channels; give at least as many channels")
    frames = _frames(encoder, recordings)
    mean = frames.mean(0)
    if len(frames) <= count or float(frames.std()) < 1e-3:
        raise InputError(f"recordings of {len(frames)} frames given, more than {count} wanted, with sound in them")
    values, vectors = torch.linalg.eigh((frames - mean).T @ (frames - mean) / len(frames))
    deviations = values.flip(0)[:count].clamp(min=LEAST * float(values[-1])).sqrt() / SPREAD
    components = vectors.flip(1)[:, :count]  # (fold (2 hop + 1), count)
    gain, offset = _dequantization(bottleneck)

    for layer in (encoder.straight, bottleneck.project_in, bottleneck.project_out, decoder.straight):
        layer.weight.mul_(SEED_WEIGHT)
        layer.bias.zero_()
    encoder.straight.weight[:count] = (components / deviations).T.float()
    encoder.straight.bias[:count] = -(mean @ (components / deviations)).float()
    bottleneck.project_in.weight[:, :count] += torch.eye(count)
    bottleneck.project_out.weight[:count] += torch.diag(gain.repeat(bottleneck.groups)).float()
    bottleneck.project_out.bias[:count] = offset.repeat(bottleneck.groups).float()
    decoder.straight.weight[:, :count] = (components * deviations).float()
    decoder.straight.bias.copy_(mean.float())
    encoder.out.weight.mul_(0.1)
    encoder.out.bias.zero_()
    logs = len(decoder.out.weight) // 3
    decoder.out.weight[:logs].mul_(0.1)
    decoder.out.bias[:logs].zero_()


def _frames(encoder: FrameEncoder, recordings: Recordings) -> Tensor:
    """Log spectra (N, fold (2 hop + 1)) of recordings from all over the folder, float64."""
    found, total = [], 0
    for index in recordings.shuffled():
        x = torch.from_numpy(recordings[index][: 10 * recordings.sample_rate])
        x = x[: len(x) // encoder.stride * encoder.stride]
        if len(x):
            found.append(encoder.logs(encoder.spectra(x[None]))[0, ::2].double())
            total += len(found[-1])
        if total > FRAMES:
            break
    if not found:
        raise InputError("the recordings are all shorter than one frame; give longer ones")
    return torch.cat(found)


def _dequantization(bottleneck: FSQ) -> tuple[Tensor, Tensor]:
    """For each scalar of a group, the line from its quantized value back to a normal input of deviation SPREAD."""
    quantiles = torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64)
    inputs = (SPREAD * torch.special.ndtri(quantiles)).unsqueeze(1)  # (1000, 1)
    outputs = (torch.tanh(inputs + bottleneck.shift) * bottleneck.scale - bottleneck.offset).round() / bottleneck.centre
    gain = (outputs * inputs).mean(0) / outputs.square().mean(0)
    return gain, (inputs - outputs * gain).mean(0)
