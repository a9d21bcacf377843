"""Frames in, frames out: an audio encoder and decoder where only the Fourier transforms run at the sample rate.

    (B, 1, T) ─ short-time spectra ─ linear ─ join `fold` frames ─ ConvNeXt × depth ─▶ (B, D, F)

    (B, D, F) ─ ConvNeXt × depth[0] ─ split into `fold` frames ─ ConvNeXt × depth[1] ─ magnitude, phase ─ overlap-add ─▶ (B, 1, T)

The decoder's inverse short-time transform is the idea of Vocos (Siuzdak, arXiv 2306.00814, section 3). Every layer looks at
a bounded number of frames, so `reach` is finite and a window of a long signal gives the same codes as the whole of it.
"""

from math import ceil

import torch
from torch import Tensor, nn

from narrows.codecs.layers.convnext import ConvNeXt
from narrows.errors import InputError
from narrows.parts import part

OVERLAP = 4  # frames that cover each sample
LOUDEST = 1e2  # cap of a predicted magnitude, as in Vocos


class Spectra(nn.Module):
    """(B, T) to complex short-time spectra (B, T / hop, 2 hop + 1): Hann windows of 4 hops centred on each hop of samples."""

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
        frames = torch.fft.irfft(spectra, OVERLAP * self.hop) * self.window
        total = self._overlap_add(frames)
        energy = self._overlap_add((self.window**2).expand(1, spectra.shape[1], -1))
        margin = (OVERLAP - 1) * self.hop // 2
        kept = slice(margin, margin + spectra.shape[1] * self.hop)
        return total[:, kept] / energy[:, kept]

    def _overlap_add(self, frames: Tensor) -> Tensor:
        pieces = frames.unflatten(2, (OVERLAP, self.hop))  # (B, F, 4, hop)
        count = frames.shape[1]
        blocks = [nn.functional.pad(pieces[:, :, i], (0, 0, i, OVERLAP - 1 - i)) for i in range(OVERLAP)]
        assert blocks[0].shape[1] == count + OVERLAP - 1
        return torch.stack(blocks).sum(0).flatten(1)


@part("frame-encoder")
class FrameEncoder(nn.Module):
    """Audio (B, 1, T), T a multiple of `stride`, to latents (B, dim, T / stride).

    hop:   samples between short-time spectra; fold: spectra joined into one latent frame, so stride = hop × fold.
    width: channels inside; depth: ConvNeXt blocks.
    """

    def __init__(self, dim: int = 64, width: int = 384, depth: int = 6, hop: int = 160, fold: int = 2) -> None:
        super().__init__()
        if width % fold:
            raise InputError(f"width {width} given, a multiple of fold {fold} wanted")
        self.dim, self.stride = dim, hop * fold
        self.fold = fold
        self.spectra = Spectra(hop)
        self.embed = nn.Linear(3 * (2 * hop + 1), width // fold)
        self.blocks = nn.Sequential(*(ConvNeXt(width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, dim)

    @property
    def reach(self) -> int:
        """Latent frames to each side on which a latent frame depends."""
        return len(self.blocks) * ConvNeXt.reach + ceil(1.5 / self.fold)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T) to (B, dim, T / stride)."""
        if x.ndim != 3 or x.shape[1] != 1 or x.shape[2] == 0 or x.shape[2] % self.stride:
            raise InputError(f"audio of shape {tuple(x.shape)} given, (B, 1, multiple of {self.stride}) wanted")
        spectra = self.spectra(x[:, 0])
        power = spectra.real.square() + spectra.imag.square() + 1e-8
        compressed = torch.view_as_real(spectra * power ** -0.35)  # magnitude to the power 0.3, as loudness grows
        features = torch.cat((power.log() * 0.2, compressed.flatten(2)), 2)
        h = self.embed(features).unflatten(1, (-1, self.fold)).flatten(2)  # (B, F, width)
        return self.out(self.norm(self.blocks(h))).transpose(1, 2)


@part("frame-decoder")
class FrameDecoder(nn.Module):
    """Latents (B, dim, F) to audio (B, 1, F × stride).

    hop, fold: as in the encoder. width, depth: channels and ConvNeXt blocks at the latent rate; fine_width, fine_depth: the
    same at the rate of the short-time spectra.
    """

    def __init__(
        self,
        dim: int = 64,
        width: int = 384,
        depth: int = 4,
        fine_width: int = 384,
        fine_depth: int = 4,
        hop: int = 160,
        fold: int = 2,
    ) -> None:
        super().__init__()
        self.dim, self.stride = dim, hop * fold
        self.fold = fold
        self.embed = nn.Linear(dim, width)
        self.blocks = nn.Sequential(*(ConvNeXt(width) for _ in range(depth)))
        self.split = nn.Linear(width, fine_width * fold)
        self.fine_blocks = nn.Sequential(*(ConvNeXt(fine_width) for _ in range(fine_depth)))
        self.norm = nn.LayerNorm(fine_width)
        self.out = nn.Linear(fine_width, 2 * (2 * hop + 1))
        self.spectra = Spectra(hop)

    @property
    def reach(self) -> int:
        """Latent frames to each side on which a block of `stride` samples depends."""
        fine = len(self.fine_blocks) * ConvNeXt.reach + 2  # 2: spectra that overlap a block from outside
        return len(self.blocks) * ConvNeXt.reach + ceil(fine / self.fold)

    def forward(self, z: Tensor) -> Tensor:
        """(B, dim, F) to (B, 1, F × stride)."""
        h = self.blocks(self.embed(z.transpose(1, 2)))
        h = self.fine_blocks(self.split(h).unflatten(2, (self.fold, -1)).flatten(1, 2))  # (B, F fold, fine_width)
        magnitude, phase = self.out(self.norm(h)).float().chunk(2, dim=2)
        magnitude = magnitude.exp().clamp(max=LOUDEST)
        return self.spectra.inverse(torch.complex(magnitude * phase.cos(), magnitude * phase.sin())).unsqueeze(1)
