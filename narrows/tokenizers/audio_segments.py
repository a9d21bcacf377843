"""An audio tokenizer of segments: each is scaled and encoded on its own, and faded into the next when decoded.

    recording   ├──────── segment ────────┤                       the last segment may be shorter
                                       ├──────── segment ────────┤
                ├──────── hop ─────────┤                       ├──────┤
    codes       ├──── frames of 0 ────┤├──── frames of 1 ────┤├ of 2 ┤     one after another

This is how EnCodec codes 48 kHz (Défossez et al., arXiv 2210.13438, section 3.1), whose normalization sees all of its
input: the segments bound what it sees, and memory. Decoded segments are weighted by triangles, which are highest at the
middle of a segment, and divided by the sum of the weights.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from narrows.bitstream import recover
from narrows.bitstream.header import SCALES
from narrows.codecs.codec import Codec
from narrows.errors import InputError
from narrows.media.buffers import Bytes
from narrows.media.extents import AudioExtent
from narrows.parts import part
from narrows.tokenizers.audio import AudioBatchEncoder, AudioTokenizer, Piece
from narrows.tokenizers.audio_blocks import CheckedBlocks
from narrows.tokenizers.audio_parts import part_of, source_of, take
from narrows.tokenizers.channels import group_channels, ungroup_channels
from narrows.tokenizers.resampling import Block, resample_blocks
from narrows.tokenizers.tokens import Latents, Tokens
from narrows.tokenizers.windows import Window

QUIETEST = 1e-8  # added to a scale, so that silence is not divided by zero


@part("segmented-audio-tokenizer")
class SegmentedAudioTokenizer(AudioTokenizer):
    """Tokenizes recordings of any sample rate, channel count and length, segment by segment.

    Each segment is divided by the root mean square of the mean of its channels. These scales, of the segments one after
    another and of all channel groups of a segment, are attached to the Tokens as "scales", float32 in little endian.

    Args:
        codec: the codec, with one signal axis, whose encoder takes any length.
        sample_rate: sample rate of the codec, in Hz.
        segment: length of a segment in samples, a multiple of the codec's stride.
        hop: samples from one segment to the next, at least half a segment.

    Raises:
        InputError: for another codec, and for numbers out of range.
    """

    attachments: ClassVar[tuple[str, ...]] = (SCALES,)
    needed: ClassVar[tuple[str, ...]] = (SCALES,)

    def __init__(self, codec: Codec, sample_rate: int, segment: int = 48_000, hop: int = 47_520) -> None:
        super().__init__(codec, sample_rate)
        if not codec.encoder.any_length:
            raise InputError(f"expected an encoder of any length, got {type(codec.encoder).__name__}")
        if type(segment) is not int or segment < 1 or segment % self._stride:
            raise InputError(f"expected a segment that is a multiple of {self._stride} samples, got {segment!r}")
        if type(hop) is not int or not segment <= 2 * hop <= 2 * segment:
            raise InputError(f"expected a hop from {-(-segment // 2)} to {segment} samples, got {hop!r}")
        self.segment, self.hop = segment, hop

    @property
    def frame_rate(self) -> float:
        """Latent frames per second, with those of overlaps."""
        return self.segment // self._stride * self.sample_rate / self.hop

    def frames(self, samples: int, sample_rate: int) -> int:
        """Number of latent frames of all segments of a recording."""
        total = self._resampled(samples, sample_rate)
        return self._frames_before(-(-total // self.hop), total)

    def decode_blocks(self, item: Tokens | Latents, start: float = 0.0, stop: float | None = None) -> Iterator[Block]:
        """Decode Tokens to consecutive blocks (C, n), in bounded memory; arguments as of `decode`."""
        extent = cast(AudioExtent, self.check_item(item))
        total, codes, scales = self._resampled(extent.samples, extent.sample_rate), *self._checked(item, extent)
        first, last = part_of(extent, start, stop)
        source, skipped = source_of(first, last, extent.sample_rate, self.sample_rate, total)
        begin = max(0, (source.start - self.segment) // self.hop + 1)
        segments = range(begin, -(-source.stop // self.hop))
        blocks = (
            ungroup_channels(x, extent.channels).numpy() for x in self._overlapped(codes, scales, segments, total)
        )
        signal = take(blocks, source.start - begin * self.hop, source.stop - source.start)
        resampled = resample_blocks(signal, self.sample_rate, extent.sample_rate, skipped + last - first)
        return take(resampled, skipped, last - first)

    def recover(self, data: Bytes) -> tuple[Tokens, list[tuple[float, float]]]:
        """See `AudioTokenizer.recover`. If the scales are lost, so is the recording: they are 1 then."""
        tokens, spans = super().recover(data)
        scales = recover(data, self.tables).attachments.get(SCALES)
        if scales is None:
            extent = cast(AudioExtent, tokens.extent)
            total = self._resampled(extent.samples, extent.sample_rate)
            scales = np.ones((-(-total // self.hop), len(tokens.codes)), "<f4").tobytes()
        return replace(tokens, attachments={SCALES: scales}), spans

    def _encoder(
        self, batch: int, latents: bool, codebooks: Callable[[int], int] | None, window: int | None = None
    ) -> "SegmentEncoder":
        return SegmentEncoder(self, batch, latents, codebooks)

    def _frames_before(self, segment: int, total: int) -> int:
        """Number of latent frames of the segments before one of a signal of `total` samples."""
        whole = min(segment, max(0, (total - self.segment) // self.hop + 1))
        rest = (min(self.segment, total - number * self.hop) for number in range(whole, segment))
        return whole * (self.segment // self._stride) + sum(-(-size // self._stride) for size in rest)

    def _checked(self, item: Tokens | Latents, extent: AudioExtent) -> tuple[Tensor, Tensor]:
        """Codes, and scales (n, S, 1, 1), if there are as many as the extent says."""
        if not isinstance(item, Tokens):
            raise InputError(f"expected Tokens for {self.name}, got Latents")
        frames, groups = self.frames(extent.samples, extent.sample_rate), len(item.codes)
        segments = -(-self._resampled(extent.samples, extent.sample_rate) // self.hop)
        if item.codes.shape[2] != frames:
            raise InputError(f"expected {frames} frames for {extent}, got {item.codes.shape[2]}")
        scales = item.attachments.get(SCALES, b"")
        if len(scales) != 4 * groups * segments:
            raise InputError(
                f"expected {4 * groups * segments} bytes as the attachment {SCALES!r}, got {len(scales)}; decode the "
                "tokens as they were encoded"
            )
        values = torch.from_numpy(np.frombuffer(scales, "<f4").astype(np.float32))
        if not values.isfinite().all():
            raise InputError(f"expected finite numbers as the attachment {SCALES!r}, got others")
        return item.codes, values.view(segments, groups, 1, 1)

    @torch.inference_mode()
    def _overlapped(self, codes: Tensor, scales: Tensor, segments: range, total: int) -> Iterator[Tensor]:
        """The signal (S, c, n) from the start of the first of some segments on, in pieces."""
        length = min(self.segment, -(-total // self._stride) * self._stride)  # of a decoded segment
        times = torch.linspace(0, 1, length + 2)[1:-1]
        weights = 0.5 - (times - 0.5).abs()
        held, sums = torch.zeros(0), torch.zeros(0)
        for number in segments:
            bounds = slice(self._frames_before(number, total), self._frames_before(number + 1, total))
            with torch.autocast(self.device.type, enabled=False):
                x = self.codec.decode(codes[:, :, bounds].to(self.device)).float().cpu() * scales[number]
            weight = weights[: x.shape[2]]
            overlap = min(len(sums), len(weight))
            x, weight = x * weight, weight.clone()
            if len(sums):
                x[..., :overlap] += held[..., :overlap]
                weight[:overlap] += sums[:overlap]
            if overlap < len(sums):  # of a last segment that is shorter than the overlap
                x = torch.cat((x, held[..., overlap:]), 2)
                weight = torch.cat((weight, sums[overlap:]))
            done = x.shape[2] if number == segments[-1] else self.hop
            yield x[..., :done] / weight[:done]
            held, sums = x[..., done:], weight[done:]


class SegmentEncoder(AudioBatchEncoder):
    """Encodes recordings to Tokens, segment by segment; see `AudioBatchEncoder`."""

    tokenizer: SegmentedAudioTokenizer

    def windows(self, blocks: Iterable[Block], samples: int | None, sample_rate: int) -> Iterator[Piece]:
        """The segments of consecutive blocks, not yet scaled."""
        tokenizer, checked = self.tokenizer, CheckedBlocks(blocks, samples)

        def length() -> int:
            return tokenizer.network_samples(checked.samples, sample_rate)

        total = length if samples is None else tokenizer.network_samples(samples, sample_rate)
        held, offset = np.empty((0, 0), np.float32), 0
        for block in resample_blocks(checked, sample_rate, tokenizer.sample_rate, total, tokenizer._stride):
            held = np.concatenate([held, block], 1) if held.size else block
            while held.shape[1] >= tokenizer.segment:
                yield self._window(offset, held)
                held, offset = held[:, tokenizer.hop :], offset + tokenizer.hop
        while held.shape[1]:
            yield self._window(offset, held)
            held, offset = held[:, tokenizer.hop :], offset + tokenizer.hop
        yield AudioExtent(int(sample_rate), checked.samples, checked.channels)

    def add(self, pieces: Iterator[Piece]) -> Callable[[], Tokens | Latents]:
        """Encode the segments of a recording; see `BatchEncoder.add`."""
        scales = list[Tensor]()
        encoded = super().add(self._scaled(pieces, scales))

        def result() -> Tokens:
            return replace(
                cast(Tokens, encoded()), attachments={SCALES: torch.stack(scales).numpy().astype("<f4").tobytes()}
            )

        return result

    def _window(self, offset: int, held: Block) -> tuple[Window, Block]:
        x = held[:, : self.tokenizer.segment]
        return Window(offset, offset + x.shape[1], offset, offset + x.shape[1]), x  # all frames are kept

    def _scaled(self, pieces: Iterator[Piece], scales: list[Tensor]) -> Iterator[Piece]:
        """Divide segments by their scales, which are collected."""
        for piece in pieces:
            if not isinstance(piece, tuple):  # the extent
                yield piece
                continue
            window, x = piece
            grouped = group_channels(torch.from_numpy(x)[None], self.tokenizer.codec.channels)[0]  # (S, c, n)
            scale = grouped.mean(1).square().mean(1).sqrt() + QUIETEST
            scales.append(scale)
            scaled = (grouped / scale[:, None, None]).flatten(0, 1).numpy()
            yield window, scaled
