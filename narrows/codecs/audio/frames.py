"""An audio encoder and decoder on STFT frames: only the Fourier transforms run at the sample rate.

                 ┌─ log magnitudes ── linear layer ────┐
    (B, C, T) ─ STFT ────── ConvNeXt × depth ──────────┴─▶ (B, D, F)

                 ┌─ linear layer ────────────────┐
    (B, D, F) ───┴────── ConvNeXt × depth ───────┴─▶ magnitudes, phases ─ Griffin-Lim ─ inverse STFT ─▶ (B, C, T)

The decoder's inverse STFT follows Vocos (Siuzdak, arXiv 2306.00814, section 3). Every layer has a bounded receptive
field: `reach` is finite, and windows of a long signal give the codes of the whole.
"""

from collections.abc import Iterator
from math import ceil

import torch
from torch import Tensor, nn

from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.convnext import ConvNeXt
from narrows.errors import InputError
from narrows.parts import part

OVERLAP = 4  # frames that cover each sample
MARGIN = 2  # frames to each side that overlap one hop of samples
MAX_MAGNITUDE = 1e2  # of a predicted bin, as in Vocos
MOMENTUM = 0.85  # of fast Griffin-Lim: the best for 16 iterations on speech, of 0.6 to 0.99
EPSILON = 1e-8  # power that keeps logarithms and divisions finite


class STFT(nn.Module):
    """(B, T) to complex short-time spectra (B, T / hop, 2 hop + 1): Hann windows of 4 hops, centred on each hop."""

    window: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("window", torch.hann_window(OVERLAP * hop), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        margin = (OVERLAP - 1) * self.hop // 2
        x = x.to(torch.promote_types(x.dtype, torch.float32))  # Fourier transforms need at least float32
        padded = nn.functional.pad(x, (margin, (OVERLAP - 1) * self.hop - margin))
        return torch.fft.rfft(padded.unfold(1, OVERLAP * self.hop, self.hop) * self.window)

    def inverse(self, spectra: Tensor) -> Tensor:
        """Spectra (B, F, 2 hop + 1) to samples (B, F hop): overlap-add divided by the energy of the windows."""
        return self._signal(spectra, self._energy(spectra.shape[1]))

    def griffin_lim(self, magnitudes: Tensor, spectra: Tensor, iterations: int) -> Tensor:
        """Spectra of given magnitudes whose phases are consistent where frames overlap.

        Each iteration takes the phases of the STFT of the inverse STFT (Griffin and Lim, IEEE TASSP 32(2), 1984), with
        momentum (fast Griffin-Lim: Perraudin et al., WASPAA 2013); it extends the receptive field by OVERLAP - 1
        frames to each side.

        Args:
            magnitudes: (B, F, 2 hop + 1).
            spectra: complex, the same shape; their phases are the start.
            iterations: number of iterations.
        """
        before, energy, gradients = None, self._energy(spectra.shape[1]), torch.is_grad_enabled()
        for _ in range(iterations):
            projected = torch.view_as_real(self(self._signal(spectra, energy)))  # real arithmetic is faster
            lerp = torch.lerp if gradients else Tensor.lerp_  # reuses the memory of `before`
            moved = projected if before is None else lerp(before, projected, 1 + MOMENTUM)
            real, imaginary = moved.unbind(-1)
            power = torch.addcmul(EPSILON + real * real, imaginary, imaginary)
            scale = power.rsqrt_().mul(magnitudes).unsqueeze(-1)
            in_place = not gradients and moved is not projected
            spectra = torch.view_as_complex(moved.mul_(scale) if in_place else moved * scale)
            before = projected
        return spectra

    def _signal(self, spectra: Tensor, energy: Tensor) -> Tensor:
        return self._overlap_add(torch.fft.irfft(spectra, OVERLAP * self.hop).mul_(self.window)).div_(energy)

    def _energy(self, count: int) -> Tensor:
        """Sum (1, F hop) of the squared windows over each sample."""
        return self._overlap_add(self.window.square().expand(1, count, -1))

    def _overlap_add(self, frames: Tensor) -> Tensor:
        batch, count, _ = frames.shape
        total = frames.new_zeros(batch, count + OVERLAP - 1, self.hop)
        for i, piece in enumerate(frames.split(self.hop, dim=2)):
            total[:, i : i + count] += piece
        margin = (OVERLAP - 1) * self.hop // 2
        return total.flatten(1)[:, margin : margin + count * self.hop]


@part("frame-encoder")
class FrameEncoder(Encoder):
    """Audio (B, C, T), T a multiple of the stride, to latents (B, dim, T / stride).

    Args:
        dim: D of the latents.
        width: channels inside.
        depth: number of ConvNeXt blocks.
        hop: samples between STFT frames.
        fold: STFT frames per latent frame; the stride is hop × fold.
        channels: C; several channels are coded jointly.
        phases: whether the network sees complex spectra beside the log magnitudes.
        floor: power added to each bin before the logarithm; the power of noise of amplitude 1 is 3 hop / 2.
    """

    def __init__(
        self,
        dim: int = 64,
        width: int = 384,
        depth: int = 4,
        hop: int = 160,
        fold: int = 2,
        channels: int = 1,
        phases: bool = True,
        floor: float = 1e-3,
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, width=width, depth=depth, hop=hop, fold=fold, channels=channels)
        self.channels, self.dim, self.stride, self.fold = channels, dim, (hop * fold,), fold
        bins = channels * fold * (2 * hop + 1)
        if not 0 < floor < 1:
            raise InputError(f"expected a floor between 0 and 1, got {floor!r}")
        self.phases, self.floor = bool(phases), floor
        self.stft = STFT(hop)
        self.embed = nn.Linear((3 if phases else 1) * bins, width)
        self.blocks = nn.Sequential(*(ConvNeXt(width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, dim)
        self.linear = nn.Linear(bins, dim)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Latent frames to each side on which a latent frame depends."""
        frames = len(self.blocks) * ConvNeXt.reach + ceil(MARGIN / self.fold)
        return ((frames, frames),)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, dim, T / stride)."""
        self.check_signal(x)
        spectra = self.spectra(x)
        h = logs = self.log_magnitudes(spectra)
        if self.phases:
            compressed = spectra * self._power(spectra) ** -0.35  # magnitude to the power 0.3, about as loudness grows
            h = torch.cat((logs, self._folded(compressed.real), self._folded(compressed.imag)), 2)
        h = self.blocks(self.embed(h.to(x.dtype)))
        return (self.linear(logs.to(x.dtype)) + self.out(self.norm(h))).transpose(1, 2)

    def spectra(self, x: Tensor) -> Tensor:
        """Audio (B, C, T) to complex STFT frames (B, T / hop, C (2 hop + 1))."""
        spectra: Tensor = self.stft(x.flatten(0, 1))
        return spectra if self.channels == 1 else spectra.unflatten(0, x.shape[:2]).transpose(1, 2).flatten(2)

    def log_magnitudes(self, spectra: Tensor) -> Tensor:
        """Spectra (B, F fold, n) to log magnitudes (B, F, fold n), the input of the linear layer."""
        return self._folded(0.5 * self._power(spectra).log())

    def _power(self, spectra: Tensor) -> Tensor:
        return spectra.real.square() + spectra.imag.square() + self.floor

    def _folded(self, frames: Tensor) -> Tensor:
        return frames.unflatten(1, (-1, self.fold)).flatten(2)


@part("frame-decoder")
class FrameDecoder(Decoder):
    """Latents (B, dim, F) to audio (B, C, F × stride).

    All channels start with the same phases: a source that is louder in one channel stays at its place.

    Args:
        dim, width, depth, hop, fold, channels: as of the encoder.
        iterations: of Griffin-Lim on the predicted phases.
    """

    def __init__(
        self,
        dim: int = 64,
        width: int = 384,
        depth: int = 8,
        hop: int = 160,
        fold: int = 2,
        iterations: int = 16,
        channels: int = 1,
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, width=width, depth=depth, hop=hop, fold=fold, channels=channels)
        check_integers(0, MAX_SIZE, iterations=iterations)
        self.channels, self.dim, self.stride = channels, dim, (hop * fold,)
        self.fold, self.iterations = fold, iterations
        bins = channels * fold * (2 * hop + 1)
        self.sizes = (bins, bins // channels, bins // channels)  # magnitudes, real and imaginary parts of phases
        self.embed = nn.Linear(dim, width)
        self.blocks = nn.Sequential(*(ConvNeXt(width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, sum(self.sizes))
        self.linear = nn.Linear(dim, bins)
        self.stft = STFT(hop)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Latent frames to each side on which a block of `stride` samples depends."""
        synthesis = self.iterations * (OVERLAP - 1) + MARGIN  # STFT frames
        frames = len(self.blocks) * ConvNeXt.reach + ceil(synthesis / self.fold)
        return ((frames, frames),)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, dim, F) to (B, C, F × stride)."""
        magnitudes, spectra = self.by_channel(*self.predict(z))
        spectra = self.stft.griffin_lim(magnitudes, spectra, self.iterations)
        return self.stft.inverse(spectra).unflatten(0, (self.channels, z.shape[0])).transpose(0, 1)

    def by_channel(self, *spectra: Tensor) -> Iterator[Tensor]:
        """Spectra (B, F fold, C n) as (C B, F fold, n)."""
        if self.channels == 1:
            return iter(spectra)
        return (torch.cat(part.chunk(self.channels, 2)) for part in spectra)

    def predict(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, dim, F) to magnitudes and complex spectra (B, F fold, C (2 hop + 1)), before Griffin-Lim."""
        z = z.transpose(1, 2)
        log, real, imaginary = self.out(self.norm(self.blocks(self.embed(z)))).split(self.sizes, dim=2)
        log, real, imaginary = (
            part.float().unflatten(2, (self.fold, -1)).flatten(1, 2)  # (B, F fold, C (2 hop + 1)), C = 1 for phases
            for part in (log + self.linear(z), real, imaginary)
        )
        if self.channels > 1:
            real, imaginary = real.repeat(1, 1, self.channels), imaginary.repeat(1, 1, self.channels)
        magnitudes = log.exp().clamp(max=MAX_MAGNITUDE)
        scale = magnitudes * (real.square() + imaginary.square() + EPSILON).rsqrt()
        return magnitudes, torch.complex(scale * real, scale * imaginary)
