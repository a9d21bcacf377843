"""Vocos: a decoder without upsampling, whose inverse STFT makes the samples (Siuzdak, arXiv 2306.00814).

    (B, 1, T) ─ STFT ─ mel bands ─ logarithm ─▶ (B, mels, F)

    (B, D, F) ─ convolution ─ norm ─ ConvNeXt × depth ─ norm ─ magnitudes, phases ─ inverse STFT ─▶ (B, 1, T)

The encoder is the fixed log-mel front end on which the decoder was trained. Every layer has a bounded receptive field.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.istft import ISTFTHead
from narrows.codecs.layers.mel import MelSpectra, check_mels, htk_filters
from narrows.codecs.layers.vocos import EPSILON, VocosBlock, make_norm, normed
from narrows.errors import InputError
from narrows.parts import part

FLOOR = 1e-7  # of a mel band, so that logarithms are finite
EMBEDDING = 7  # kernel of the first convolution
STD = 0.02  # of initial weights


@part("log-mel-encoder")
class LogMelEncoder(Encoder):
    """Mono audio (B, 1, T) to natural logarithms of mel magnitudes (B, mels, T / hop). Nothing is learned.

    Args:
        mels: number of mel bands (HTK's scale, triangles of height 1, up to half the sample rate), D of the latents.
        rate: sample rate in Hz.
        n_fft: samples of an STFT frame.
        hop: samples between frames, the stride.
        centred: whether frame k is centred on sample k × hop, else on the middle of its `hop` samples.
    """

    def __init__(
        self, mels: int = 100, rate: int = 24_000, n_fft: int = 1024, hop: int = 256, centred: bool = True
    ) -> None:
        super().__init__()
        check_mels(rate, mels)
        check_integers(2, MAX_SIZE, n_fft=n_fft)
        self.channels, self.dim, self.stride = 1, mels, (hop,)
        self.spectra = MelSpectra(htk_filters(n_fft // 2 + 1, mels, rate), hop, 1, centred)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Blocks of `hop` samples under a frame."""
        return (self.spectra.reach,)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T) to (B, mels, T / hop)."""
        self.check_signal(x)
        mels: Tensor = self.spectra(x[:, 0])
        return mels.clamp(min=FLOOR).log()


@part("vocos-decoder")
class VocosDecoder(Decoder):
    """Latents (B, dim, F) to mono audio (B, 1, F × hop).

    Args:
        dim: D of the latents.
        width: channels inside.
        hidden: hidden channels of the two-layer networks.
        depth: number of ConvNeXt blocks.
        n_fft: samples of an STFT frame.
        hop: samples between frames, the stride.
        centred: see LogMelEncoder; both must agree.
    """

    _qualities: int = 0

    def __init__(
        self,
        dim: int = 100,
        width: int = 512,
        hidden: int = 1536,
        depth: int = 8,
        n_fft: int = 1024,
        hop: int = 256,
        centred: bool = True,
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, width=width, hidden=hidden, depth=depth)
        self.channels, self.dim, self.stride = 1, dim, (hop,)
        self.embed = nn.Conv1d(dim, width, EMBEDDING, padding=EMBEDDING // 2)
        self.norm = make_norm(width, self._qualities)
        self.convnext = nn.ModuleList(VocosBlock(width, hidden, 1 / depth, self._qualities) for _ in range(depth))
        self.final_layer_norm = nn.LayerNorm(width, EPSILON)
        self.head = ISTFTHead(width, n_fft, hop, centred)
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=STD)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Frames before and after its own on which a block of `hop` samples depends."""
        frames = EMBEDDING // 2 + VocosBlock.reach * len(self.convnext)
        before, after = self.head.reach
        return ((frames + before, frames + after),)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, dim, F) to (B, 1, F × hop)."""
        if z.ndim != 3 or z.shape[1] != self.dim or 0 in z.shape:
            raise InputError(f"expected latents (B, {self.dim}, F) with no empty axis, got {tuple(z.shape)}")
        index = self._index(quality_index, z)
        h = self._embedded(z)
        h = normed(self.norm, h.transpose(1, 2), index).transpose(1, 2)
        for block in self.convnext:
            h = block(h, index)
        x: Tensor = self.head(self.final_layer_norm(h.transpose(1, 2)))
        return x[:, None]

    def _embedded(self, z: Tensor) -> Tensor:
        """Latents (B, dim, F) to (B, width, F), before the first norm."""
        h: Tensor = self.embed(z)
        return h

    def _index(self, quality_index: Tensor | int | None, z: Tensor) -> Tensor | None:
        """The quality for the norms, (1,) or (B,), if there are several."""
        return None


@part("adaptive-vocos-decoder")
class AdaptiveVocosDecoder(VocosDecoder):
    """A VocosDecoder whose norms have a scale and a shift for each quality, such as the number of codebooks.

    Args:
        dim, width, hidden, depth, n_fft, hop, centred: as of VocosDecoder.
        qualities: number of qualities.
    """

    conditioned: ClassVar[bool] = True

    def __init__(
        self,
        dim: int = 128,
        width: int = 384,
        hidden: int = 1152,
        depth: int = 8,
        n_fft: int = 1280,
        hop: int = 320,
        centred: bool = False,
        qualities: int = 4,
    ) -> None:
        check_integers(1, MAX_SIZE, qualities=qualities)
        self._qualities = qualities
        super().__init__(dim, width, hidden, depth, n_fft, hop, centred)

    def _index(self, quality_index: Tensor | int | None, z: Tensor) -> Tensor:
        if isinstance(quality_index, Tensor):
            return quality_index.to(z.device).long().reshape(-1)
        if quality_index is not None and not 0 <= quality_index < self._qualities:
            raise InputError(f"expected a quality index from 0 to {self._qualities - 1}, got {quality_index!r}")
        return torch.tensor([quality_index or 0], device=z.device)
