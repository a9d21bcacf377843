"""Transforms of signals with parameters, which latents can be trained to follow (EquivarianceLoss).

audio   gain        ±12 dB
        equalizer   four bands of ±12 dB each: low shelf, two peaks, high shelf
        pitch       ±3 semitones at the same tempo
        shift       by whole latent frames, ±8
image   flip        left and right, top and bottom
        brightness  ±0.5, of a range of 2
        blur        Gaussian with a standard deviation of up to 3 pixels
video   as image, frame by frame

Parameters of 0 leave a signal as it is. Nothing is clipped: signals are floating-point numbers, and those that leave
[-1, 1] keep the values that they have there.
"""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import soxr
import torch
from torch import Tensor, nn

from narrows.errors import InputError, shortened

MAX_GAIN = 12.0  # dB
MAX_SEMITONES = 3.0
MAX_SHIFT = 8  # latent frames
MAX_BRIGHTNESS = 0.5
MAX_SIGMA = 3.0  # pixels
BLUR_RADIUS = 9  # pixels, three standard deviations of the strongest blur

BANDS = (150.0, 500.0, 1500.0, 4000.0)  # Hz: corner of the low shelf, two peaks, corner of the high shelf
MAX_BAND = 0.35  # highest frequency of a band, as a fraction of the sample rate
Q = 0.707  # of all bands; a peak is about two octaves wide
HEADROOM = 2.0**10  # torchaudio's filters clip at 1; all bands together amplify by less than this
WINDOW_SECONDS = 0.05  # of the phase vocoder, rounded to a power of two samples


class Transform(ABC):
    """A transform of signals whose strength is set by parameters in [-1, 1]; parameters of 0 change nothing.

    A subclass implements `apply`, and `latent` if it knows what the transform does to latents.

    Attributes:
        name: as in `transform`.
        count: number of parameters P.
    """

    name: ClassVar[str]
    count: ClassVar[int]

    @property
    def is_known(self) -> bool:
        """Whether the transform of latents is known. Otherwise, it has to be learned, see LatentMap."""
        return type(self).latent is not Transform.latent

    def draw(self, random: np.random.Generator) -> tuple[float, ...]:
        """Draw the parameters of one signal: P numbers in [-1, 1], uniformly distributed unless a subclass says so."""
        return tuple(random.uniform(-1, 1, self.count).tolist())

    def __call__(self, x: Tensor, parameters: Sequence[float]) -> Tensor:
        """Transform one signal; the same input gives the same result.

        Args:
            x: (C, *signal) float32 in [-1, 1].
            parameters: P numbers in [-1, 1].

        Returns:
            (C, *signal) float32; see the module about values outside of [-1, 1].

        Raises:
            InputError: for another number of parameters, or parameters outside of [-1, 1].
        """
        self._check(parameters)
        return self.apply(x, parameters)

    @abstractmethod
    def apply(self, x: Tensor, parameters: Sequence[float]) -> Tensor:
        """What `__call__` does, with parameters that are checked."""

    def latent(self, y: Tensor, parameters: Sequence[float]) -> Tensor | None:
        """Do the same transform to latents (..., *grid); None where it is not known what it does to them."""
        self._check(parameters)
        return None

    def _check(self, parameters: Sequence[float]) -> None:
        if len(parameters) != self.count or not all(-1 <= value <= 1 for value in parameters):
            got = shortened(list(parameters))
            raise InputError(f"expected {self.count} parameters of {self.name} in [-1, 1], got {got}; use draw")


class Gain(Transform):
    """Multiplies a signal by -12 to 12 dB."""

    name, count = "gain", 1

    def apply(self, x: Tensor, parameters: Sequence[float]) -> Tensor:
        """See Transform."""
        return x * 10 ** (MAX_GAIN * parameters[0] / 20)


class Equalizer(Transform):
    """Amplifies four bands by -12 to 12 dB each, with one biquad filter of torchaudio after the other.

    The bands are a low shelf with its corner at 150 Hz, peaks at 500 and 1,500 Hz, and a high shelf with its corner at
    4,000 Hz, all with Q = 0.707. At low sample rates, frequencies are at most 0.35 of the sample rate.

    Args:
        sample_rate: in Hz.
    """

    name, count = "equalizer", len(BANDS)

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate

    def apply(self, x: Tensor, parameters: Sequence[float]) -> Tensor:
        """See Transform."""
        from torchaudio import functional

        low, *peaks, high = (min(band, MAX_BAND * self.sample_rate) for band in BANDS)
        low_gain, *gains, high_gain = (MAX_GAIN * value for value in parameters)
        x = functional.bass_biquad(x / HEADROOM, self.sample_rate, low_gain, central_freq=low, Q=Q)
        for peak, gain in zip(peaks, gains, strict=True):
            x = functional.equalizer_biquad(x, self.sample_rate, center_freq=peak, gain=gain, Q=Q)
        return functional.treble_biquad(x, self.sample_rate, high_gain, central_freq=high, Q=Q) * HEADROOM


class Pitch(Transform):
    """Shifts the pitch by -3 to 3 semitones, and with it formants; the tempo stays, so latents stay aligned in time.

    A phase vocoder (torchaudio) stretches the signal in time by the ratio of the pitches; resampling it to its length
    (soxr) shifts the pitch back to that tempo. The vocoder smears transients over its windows of about 50 ms.

    Args:
        sample_rate: in Hz.
    """

    name, count = "pitch", 1

    def __init__(self, sample_rate: int) -> None:
        self.window = 2 ** max(4, round(np.log2(WINDOW_SECONDS * sample_rate)))

    def apply(self, x: Tensor, parameters: Sequence[float]) -> Tensor:
        """See Transform."""
        from torchaudio import functional

        ratio, samples = 2 ** (MAX_SEMITONES * parameters[0] / 12), x.shape[-1]
        stretched = round(samples * ratio)
        if stretched in (0, samples):
            return x
        hop = self.window // 4
        hann = torch.hann_window(self.window, device=x.device)
        spectra = torch.stft(x, self.window, hop, window=hann, pad_mode="constant", return_complex=True)
        advance = torch.linspace(0, torch.pi * hop, self.window // 2 + 1, device=x.device)[:, None]
        spectra = functional.phase_vocoder(spectra, 1 / ratio, advance)
        slow = torch.istft(spectra, self.window, hop, window=hann, length=stretched)
        shifted = torch.from_numpy(soxr.resample(slow.T.cpu().numpy(), stretched, samples).T.copy()).to(x.device)
        return _to_length(shifted, samples)


class Shift(Transform):
    """Shifts a signal by -8 to 8 latent frames, later for positive parameters, and fills the gap with zeros.

    Latents are shifted by as many frames, and filled with zeros, too. That is exact for positions that do not see the
    gap or the ends of the signal, as far as an encoder is convolutional.

    Args:
        stride: samples of the signal per latent frame.
    """

    name, count = "shift", 1

    def __init__(self, stride: int) -> None:
        self.stride = stride

    def draw(self, random: np.random.Generator) -> tuple[float, ...]:
        """Draw a whole number of frames, from -8 to 8 with equal probability, over 8."""
        return (int(random.integers(-MAX_SHIFT, MAX_SHIFT, endpoint=True)) / MAX_SHIFT,)

    def apply(self, x: Tensor, parameters: Sequence[float]) -> Tensor:
        """See Transform."""
        return _shifted(x, self._frames(parameters) * self.stride)

    def latent(self, y: Tensor, parameters: Sequence[float]) -> Tensor:
        """See Transform; y is (..., F)."""
        self._check(parameters)
        return _shifted(y, self._frames(parameters))

    def _frames(self, parameters: Sequence[float]) -> int:
        return round(MAX_SHIFT * parameters[0])


class Flip(Transform):
    """Mirrors left and right for a positive first parameter, top and bottom for a positive second one.

    Latents are mirrored in the same way. That is exact for images whose sides are multiples of the stride.
    """

    name, count = "flip", 2

    def draw(self, random: np.random.Generator) -> tuple[float, ...]:
        """Draw 0 or 1 with equal probability."""
        return tuple(float(value) for value in random.integers(0, 1, self.count, endpoint=True))

    def apply(self, x: Tensor, parameters: Sequence[float]) -> Tensor:
        """See Transform."""
        axes = [axis for axis, value in zip((-1, -2), parameters, strict=True) if value > 0]
        return x.flip(axes) if axes else x

    def latent(self, y: Tensor, parameters: Sequence[float]) -> Tensor:
        """See Transform; y is (..., H, W)."""
        self._check(parameters)
        return self.apply(y, parameters)


class Brightness(Transform):
    """Adds -0.5 to 0.5 to all pixels."""

    name, count = "brightness", 1

    def apply(self, x: Tensor, parameters: Sequence[float]) -> Tensor:
        """See Transform."""
        return x + MAX_BRIGHTNESS * parameters[0]


class Blur(Transform):
    """Gaussian blur with a standard deviation of 0 to 3 pixels, of images (C, H, W) or of each frame of (C, T, H, W).

    The pixels at the edges are repeated beyond them. A parameter and its negative do the same.
    """

    name, count = "blur", 1

    def draw(self, random: np.random.Generator) -> tuple[float, ...]:
        """Draw a number in [0, 1], uniformly distributed."""
        return (random.uniform(0, 1),)

    def apply(self, x: Tensor, parameters: Sequence[float]) -> Tensor:
        """See Transform."""
        sigma = MAX_SIGMA * abs(parameters[0])
        if sigma < 0.1:  # pixels; the weight of a neighbour is below 1e-21
            return x
        offsets = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=x.device)
        kernel = (-0.5 * (offsets / sigma).square()).softmax(0)
        images = x.reshape(-1, 1, *x.shape[-2:])
        padded = nn.functional.pad(images, (BLUR_RADIUS,) * 4, mode="replicate")
        rows = nn.functional.conv2d(padded, kernel.view(1, 1, 1, -1))
        return nn.functional.conv2d(rows, kernel.view(1, 1, -1, 1)).view_as(x)


def transform_names(medium: str) -> tuple[str, ...]:
    """The names of the transforms of "audio", "image" or "video".

    Raises:
        InputError: for another medium.
    """
    if medium not in _TRANSFORMS:
        raise InputError(f"expected a medium of {', '.join(_TRANSFORMS)}, got {shortened(medium)}")
    return tuple(_TRANSFORMS[medium])


def transform(medium: str, name: str, sample_rate: int | None, stride: tuple[int, ...]) -> Transform:
    """A transform by its name.

    Args:
        medium: "audio", "image" or "video".
        name: one of `transform_names(medium)`.
        sample_rate: of audio, in Hz; not used for others.
        stride: of the codec, samples of the signal per position of the latent grid.

    Raises:
        InputError: for an unknown medium or name, with the nearest, and for audio without a sample rate.
    """
    names = transform_names(medium)
    if name not in names:
        close = difflib.get_close_matches(str(name), names, 1, 0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"expected a transform of {medium} of {', '.join(names)}, got {shortened(name)}{hint}")
    if medium == "audio" and not sample_rate:
        raise InputError(f"expected the sample rate of the audio in Hz for {name!r}, got {sample_rate}; give it")
    return _TRANSFORMS[medium][name](sample_rate or 0, stride)


_IMAGE: dict[str, Callable[[int, tuple[int, ...]], Transform]] = {
    Flip.name: lambda sample_rate, stride: Flip(),
    Brightness.name: lambda sample_rate, stride: Brightness(),
    Blur.name: lambda sample_rate, stride: Blur(),
}
_TRANSFORMS: dict[str, dict[str, Callable[[int, tuple[int, ...]], Transform]]] = {
    "audio": {
        Gain.name: lambda sample_rate, stride: Gain(),
        Equalizer.name: lambda sample_rate, stride: Equalizer(sample_rate),
        Pitch.name: lambda sample_rate, stride: Pitch(sample_rate),
        Shift.name: lambda sample_rate, stride: Shift(stride[0]),
    },
    "image": _IMAGE,
    "video": _IMAGE,
}


def _shifted(x: Tensor, count: int) -> Tensor:
    """Shift (..., T) by `count` positions, to the right if positive, and fill the gap with zeros."""
    count = max(-x.shape[-1], min(x.shape[-1], count))
    return nn.functional.pad(x, (count, -count))


def _to_length(x: Tensor, length: int) -> Tensor:
    """Cut (..., T) to a length, or append zeros."""
    return nn.functional.pad(x, (0, length - x.shape[-1]))
