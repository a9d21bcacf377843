"""Frames in, frames out: an audio encoder and decoder where only the Fourier transforms run at the sample rate.

                 ┌─ log magnitudes ── straight: one linear layer ──┐
    (B, 1, T) ─ short-time spectra ────── ConvNeXt × depth ────────┴─▶ (B, D, F)

                 ┌─ straight: one linear layer ──┐
    (B, D, F) ───┴────── ConvNeXt × depth ───────┴─▶ magnitudes, phases ─ made consistent ─ overlap-add ─▶ (B, 1, T)

The decoder's inverse short-time transform is the idea of Vocos (Siuzdak, arXiv 2306.00814, section 3). Every layer
looks at a bounded number of frames: `reach` is finite, and a window of a long signal gives the codes of the whole.
"""

from math import ceil

import torch
from torch import Tensor, nn

from narrows.codecs.checks import MOST, check_whole
from narrows.codecs.layers.convnext import ConvNeXt
from narrows.errors import InputError
from narrows.parts import part

OVERLAP = 4  # frames that cover each sample
MARGIN = 2  # frames that reach into a hop of samples from outside it, to each side
LOUDEST = 1e2  # cap of a predicted magnitude, as in Vocos
FLOOR = 1e-3  # power of a bin below which the encoder hardly hears
MOMENTUM = 0.85  # of the phases from round to round: the best for 16 rounds on speech, of 0.6 to 0.99
QUIETEST = 1e-8  # power that keeps logarithms and divisions finite


class Spectra(nn.Module):
    """(B, T) to complex short-time spectra (B, T / hop, 2 hop + 1): Hann windows of 4 hops, centred on each hop."""

    window: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("window", torch.hann_window(OVERLAP * hop), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        margin = (OVERLAP - 1) * self.hop // 2
        padded = nn.functional.pad(x, (margin, (OVERLAP - 1) * self.hop - margin))
        return torch.fft.rfft(padded.unfold(1, OVERLAP * self.hop, self.hop) * self.window)

    def inverse(self, spectra: Tensor) -> Tensor:
        """Spectra (B, F, 2 hop + 1) to samples (B, F hop): windowed overlap-add over the energy of the windows."""
        return self._signal(spectra, self._energy(spectra.shape[1]))

    def consistent(self, magnitudes: Tensor, spectra: Tensor, rounds: int) -> Tensor:
        """Spectra of these magnitudes (B, F, 2 hop + 1) whose phases agree where frames overlap, from `spectra` on.

        Each round takes the phases of the signal that the spectra make (Griffin and Lim, IEEE TASSP 32(2), 1984), moved
        on in the direction of the last change (Perraudin et al., WASPAA 2013); it reaches OVERLAP - 1 frames farther.
        """
        before, energy, kept = None, self._energy(spectra.shape[1]), torch.is_grad_enabled()
        for _ in range(rounds):
            seen = torch.view_as_real(self(self._signal(spectra, energy)))  # arithmetic of pairs is the faster one
            onward = torch.lerp if kept else Tensor.lerp_  # in the memory of `before`, which no gradient needs
            moved = seen if before is None else onward(before, seen, 1 + MOMENTUM)
            real, imaginary = moved.unbind(-1)
            power = torch.addcmul(QUIETEST + real * real, imaginary, imaginary)
            scale = power.rsqrt_().mul(magnitudes).unsqueeze(-1)
            spectra = torch.view_as_complex(moved * scale if kept or moved is seen else moved.mul_(scale))
            before = seen
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


def _power(spectra: Tensor) -> Tensor:
    return spectra.real.square() + spectra.imag.square() + FLOOR


@part("frame-encoder")
class FrameEncoder(nn.Module):
    """Audio (B, 1, T), T a multiple of `stride`, to latents (B, dim, T / stride).

    width: channels inside; depth: ConvNeXt blocks. hop: samples between short-time spectra; fold: spectra in one
    latent frame, so stride = hop × fold.
    """

    def __init__(self, dim: int = 64, width: int = 384, depth: int = 4, hop: int = 160, fold: int = 2) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim, width=width, depth=depth, hop=hop, fold=fold)
        self.axes, self.dim, self.stride, self.fold = 1, dim, hop * fold, fold
        self.spectra = Spectra(hop)
        self.embed = nn.Linear(3 * fold * (2 * hop + 1), width)
        self.blocks = nn.Sequential(*(ConvNeXt(width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, dim)
        self.straight = nn.Linear(fold * (2 * hop + 1), dim)

    @property
    def reach(self) -> int:
        """Latent frames to each side on which a latent frame depends."""
        return len(self.blocks) * ConvNeXt.reach + ceil(MARGIN / self.fold)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T) to (B, dim, T / stride)."""
        if x.ndim != 3 or x.shape[1] != 1 or x.shape[2] == 0 or x.shape[2] % self.stride:
            raise InputError(f"expected audio (B, 1, multiple of {self.stride}), got {tuple(x.shape)}")
        spectra = self.spectra(x[:, 0])
        logs = self.logs(spectra)
        compressed = spectra * _power(spectra) ** -0.35  # magnitude to the power 0.3, as loudness grows
        h = self.blocks(self.embed(torch.cat((logs, self._folded(compressed.real), self._folded(compressed.imag)), 2)))
        return (self.straight(logs) + self.out(self.norm(h))).transpose(1, 2)

    def logs(self, spectra: Tensor) -> Tensor:
        """Spectra (B, F fold, 2 hop + 1) to log magnitudes (B, F, fold (2 hop + 1)): what the straight path sees."""
        return self._folded(0.5 * _power(spectra).log())

    def _folded(self, frames: Tensor) -> Tensor:
        return frames.unflatten(1, (-1, self.fold)).flatten(2)


@part("frame-decoder")
class FrameDecoder(nn.Module):
    """Latents (B, dim, F) to audio (B, 1, F × stride).

    width, depth, hop, fold: as in the encoder. rounds: how often the predicted phases are made consistent with each
    other before the spectra become a signal.
    """

    def __init__(
        self, dim: int = 64, width: int = 384, depth: int = 8, hop: int = 160, fold: int = 2, rounds: int = 16
    ) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim, width=width, depth=depth, hop=hop, fold=fold)
        check_whole(0, MOST, rounds=rounds)
        self.axes, self.dim, self.stride, self.fold, self.rounds = 1, dim, hop * fold, fold, rounds
        self.embed = nn.Linear(dim, width)
        self.blocks = nn.Sequential(*(ConvNeXt(width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 3 * fold * (2 * hop + 1))
        self.straight = nn.Linear(dim, fold * (2 * hop + 1))
        self.spectra = Spectra(hop)

    @property
    def reach(self) -> int:
        """Latent frames to each side on which a block of `stride` samples depends."""
        synthesis = self.rounds * (OVERLAP - 1) + MARGIN  # short-time frames
        return len(self.blocks) * ConvNeXt.reach + ceil(synthesis / self.fold)

    def forward(self, z: Tensor) -> Tensor:
        """(B, dim, F) to (B, 1, F × stride)."""
        magnitudes, spectra = self.predict(z)
        return self.spectra.inverse(self.spectra.consistent(magnitudes, spectra, self.rounds)).unsqueeze(1)

    def predict(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, dim, F) to magnitudes and complex spectra, (B, F fold, 2 hop + 1), before they are made consistent."""
        z = z.transpose(1, 2)
        log, real, imaginary = self.out(self.norm(self.blocks(self.embed(z)))).chunk(3, dim=2)
        log, real, imaginary = (
            part.float().unflatten(2, (self.fold, -1)).flatten(1, 2)  # (B, F fold, 2 hop + 1)
            for part in (log + self.straight(z), real, imaginary)
        )
        magnitudes = log.exp().clamp(max=LOUDEST)
        scale = magnitudes * (real.square() + imaginary.square() + QUIETEST).rsqrt()
        return magnitudes, torch.complex(scale * real, scale * imaginary)
