"""The video tokenizer: a causal video codec with exact frame counts and sizes, any length in bounded memory.

frames (C, H, W) one after another ─ blocks ─ tiles ─ encoder ─ bottleneck ─▶ Tokens ─▶ the same steps in reverse
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain, repeat
from math import ceil
from types import MappingProxyType
from typing import ClassVar, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.bitstream import IndexedTables, StreamHeader, recover
from narrows.bitstream import Reader as StreamReader
from narrows.bitstream.header import SOUND, TIMES
from narrows.bitstream.indexed import IndexedCoder
from narrows.bitstream.limits import MAX_INDEXED_SYMBOLS
from narrows.bitstream.writer import join
from narrows.codecs.base import MAX_RADIX
from narrows.codecs.codec import Codec
from narrows.errors import InputError, shortened
from narrows.media import video as media
from narrows.media.buffers import Bytes
from narrows.media.extents import Extent, VideoExtent
from narrows.media.files import Source
from narrows.media.image.resize import Resize
from narrows.media.medium import Info, Medium, Reader, Signal
from narrows.parts import part
from narrows.tokenizers.estimates import CHUNK_BYTES, HEADER_BYTES
from narrows.tokenizers.settings import Compressed, DecodeOptions, Output
from narrows.tokenizers.tokenizer import Item, Tokenizer
from narrows.tokenizers.tokens import CHUNK_SECONDS, Latents, Tokens, band
from narrows.tokenizers.video_batches import VideoBatchEncoder
from narrows.tokenizers.video_chunks import CodedVideo, chunk_of, regrouped
from narrows.tokenizers.video_frames import (
    Array,
    CheckedFrames,
    FrameRate,
    as_clip,
    as_rate,
    levels_of,
    part_of_clip,
    reported,
)
from narrows.tokenizers.video_sound import AudioModels, model_for_file, sound_attachment, sound_of, sound_warnings
from narrows.tokenizers.video_tiles import Frame, VideoTiles, latent_frames
from narrows.tokenizers.video_times import times_attachment

T = TypeVar("T")


@part("video-tokenizer")
class VideoTokenizer(Tokenizer):
    """Tokenizes video of any length and size, grey or RGB, with a causal video codec.

    Frames go through the codec in blocks, each of which continues the state of the one before, and large frames in
    overlapping tiles, so that memory grows neither with the length nor, in the networks, with the size. The result is
    the same as for the whole clip at once.

    Of n frames and a codec with stride s in time, the latent grid has 1 + ceil((n - 1) / s) frames: the first one
    stands for the first frame alone, so an image is a clip of one frame. Sides are padded to whole blocks by repeating
    the last row and column.

    Args:
        codec: the codec, with three signal axes, whose encoder and decoder have `start` and `step`.

    Attributes:
        tile: largest side of a tile, in pixels; raised to four times the reach of the networks.
        block: latent frames that go through the networks together.
        audio: the audio model for sound tracks, one of `narrows.load`; None for those that ship, by the sound.
        audio_models: those that ship; set by `narrows.load`.

    Raises:
        InputError: for a codec with another number of axes, or one that is not causal.
    """

    medium: ClassVar[Medium] = media.MEDIUM
    attachments: ClassVar[tuple[str, ...]] = (SOUND, TIMES)
    open_options: ClassVar[tuple[str, ...]] = ("sound", "recover")
    decode_options: ClassVar[tuple[str, ...]] = ("start", "stop", "sound")
    tile: int = 512
    block: int = 4
    audio: Tokenizer | None = None
    audio_models: AudioModels | None = None

    def __init__(self, codec: Codec) -> None:
        super().__init__(codec)
        for name, network in (("encoder", codec.encoder), ("decoder", codec.decoder)):
            if (reach := network.reach[0]) is None or reach[1]:
                raise InputError(
                    f"expected a causal {name}, got {type(network).__name__} with a reach in time of {reach}"
                )
            network.start(1)

    @property
    def tiles(self) -> VideoTiles:
        """The networks of the codec, run on blocks and tiles."""
        return VideoTiles(self.codec, self.tile // max(self.codec.stride[1:]), self.block)

    @property
    def positions_per_amount(self) -> float:
        """Latent positions per pixel of a frame."""
        frames, height, width = self.codec.stride
        return 1 / (frames * height * width)

    @property
    def settings(self) -> tuple[str, ...]:
        """`quality` for an entropy model with several, `codebooks` for other codebooks, otherwise empty."""
        if self.entropy_model is not None:
            return ("quality",) if self.qualities > 1 else ()
        return ("codebooks",) if self.codebooks else ()

    def grid(self, extent: VideoExtent) -> tuple[int, int, int]:
        """Size of the latent grid of a clip."""
        stride, multiple = self.codec.stride, self.entropy_model.multiple if self.entropy_model else 1
        sides = [
            -(-size // (multiple * each)) * multiple
            for size, each in zip((extent.height, extent.width), stride[1:], strict=True)
        ]
        return latent_frames(extent.frames, stride[0]), sides[0], sides[1]

    def encode(
        self, x: Array, frame_rate: FrameRate, *, quality: float | None = None, codebooks: float | None = None
    ) -> Tokens:
        """Encode a clip to Tokens.

        Args:
            x: (C, T, H, W), C 1 or 3, floats in [-1, 1] or uint8.
            frame_rate: frames per second; a float such as 29.97 stands for the nearest fraction.
            quality: 1 to 8, for a model with several qualities; None for 4.
            codebooks: number of codebooks to keep; None for all K.

        Raises:
            InputError: for another shape or type, values that are not finite, and settings out of range.
        """
        clip = as_clip(x)
        return self.encode_frames(clip.swapaxes(0, 1), frame_rate, quality=quality, codebooks=codebooks)

    def encode_frames(
        self,
        frames: Iterable[Frame],
        frame_rate: FrameRate,
        *,
        quality: float | None = None,
        codebooks: float | None = None,
    ) -> Tokens:
        """Encode consecutive frames (C, H, W) to Tokens, in memory that does not grow with their number but for codes.

        Raises InputError as `encode`, for no frames, and for frames of different sizes.
        """
        return self._encode_frames(
            frames, as_rate(frame_rate), self.quality_index(quality), self.check_codebooks(codebooks)
        )

    def encode_at(self, x: Array, quality_index: int) -> Tokens:
        """Encode a clip (C, T, H, W) at a quality index, 0 to `qualities` - 1, as if it had a frame each second."""
        return self._encode_frames(as_clip(x).swapaxes(0, 1), Fraction(1), quality_index, self.codebooks)

    def _encode_frames(self, frames: Iterable[Frame], rate: Fraction, quality_index: int, keep: int) -> Tokens:
        bottleneck, model, costs = self.codec.bottleneck, self.entropy_model, self.bit_costs

        def coded(z: Tensor) -> Tensor:
            if model is None:
                return bottleneck.encode(z.to(self.device))[:, :keep].cpu()
            return model.encode(z.to(self.device), quality_index, costs).short().cpu()

        pieces, extent = self._encoded(CheckedFrames(frames), rate, coded)
        codes = torch.cat(pieces, 2)
        index = None if model is None else quality_index
        return Tokens(codes, bottleneck.radices[:keep], extent, self.name, self.fingerprint, index)

    def encode_batch(
        self,
        clips: Sequence[Array],
        frame_rate: FrameRate,
        *,
        quality: float | None = None,
        codebooks: float | None = None,
    ) -> list[Tokens]:
        """Encode clips, one after another; returns the Tokens of each."""
        return [self.encode(x, frame_rate, quality=quality, codebooks=codebooks) for x in clips]

    def encode_latents(self, x: Array, frame_rate: FrameRate) -> Latents:
        """Encode a clip to the Latents of a continuous bottleneck, without quantization. `x` as for `encode`.

        Raises InputError for a model with another bottleneck, and as `encode` does.
        """
        return self.encode_frames_to_latents(as_clip(x).swapaxes(0, 1), frame_rate)

    def encode_frames_to_latents(self, frames: Iterable[Frame], frame_rate: FrameRate) -> Latents:
        """Encode consecutive frames (C, H, W) to Latents; see `encode_frames`."""
        continuous = self.continuous

        def coded(z: Tensor) -> Tensor:
            return continuous.encode_latents(z.to(self.device)).float().cpu()

        pieces, extent = self._encoded(CheckedFrames(frames), as_rate(frame_rate), coded)
        return Latents(torch.cat(pieces, 2), extent, self.name, self.fingerprint)

    @torch.no_grad()
    def _encoded(
        self, frames: CheckedFrames, rate: Fraction, coded: Callable[[Tensor], T]
    ) -> tuple[list[T], VideoExtent]:
        """What `coded` returns for the latents (S, D, t, h, w) of each block or chunk, and the extent of the frames."""
        source = iter(frames)
        first = next(source, None)
        if first is None:
            raise InputError("expected a clip of at least 1 frame, got 0")
        height, width = first.shape[1:]
        grid = self.grid(VideoExtent(1, height, width, len(first), rate.numerator, rate.denominator))
        blocks = self.tiles.encode(chain([first], source), grid[1:])
        pieces = list[T]()
        for z in regrouped(blocks, self._steps(grid, len(first))) if self.entropy_model else blocks:
            with torch.autocast(self.device.type, enabled=False):
                pieces.append(coded(z))
        extent = VideoExtent(frames.count, height, width, len(first), rate.numerator, rate.denominator)
        return pieces, extent

    def decode(self, tokens: Tokens, start: float = 0.0, stop: float | None = None) -> Tensor:
        """Decode Tokens to a clip (C, T, H, W) float32 in [-1, 1], of the size and channels of the encoded clip.

        Args:
            tokens: the Tokens.
            start, stop: decode this part only, in seconds; None for the end. The work is that for the part. The result
                equals the frames from round(start · rate) to round(stop · rate) of the whole, up to rounding errors;
                for a variable rate, the frames whose times are from `start` to before `stop`.

        Raises:
            WrongModel: for tokens of another model.
            InputError: for codes that do not match their extent, and for a part outside of the clip.
        """
        self.check_item(tokens)
        return torch.from_numpy(np.concatenate(list(self.decode_blocks(tokens, start, stop)), 1))

    def decode_batch(self, batch: Sequence[Tokens]) -> list[Tensor]:
        """Decode a list of Tokens, one after another; returns the clip of each."""
        return [self.decode(tokens) for tokens in batch]

    def decode_latents(self, latents: Latents, start: float = 0.0, stop: float | None = None) -> Tensor:
        """Decode Latents to a clip (C, T, H, W) float32 in [-1, 1]; see `decode`."""
        self.check_item(latents)
        return torch.from_numpy(np.concatenate(list(self.decode_blocks(latents, start, stop)), 1))

    def decode_blocks(self, item: Item, start: float = 0.0, stop: float | None = None) -> Iterator[NDArray[np.float32]]:
        """Decode an .nrw stream, Tokens or Latents to consecutive blocks (C, t, H, W), in bounded memory.

        Of a stream, only the chunks that a part depends on are read. Other arguments as of `decode`.

        Raises as `decode` and `decompress`.
        """
        coded = self._coded(item)
        return self._blocks_of(coded, *part_of_clip(coded.extent, start, stop, coded.times))

    def _blocks_of(self, coded: CodedVideo, first: int, last: int) -> Iterator[NDArray[np.float32]]:
        """Blocks (C, t, H, W) of the frames from `first` to `last` - 1."""
        stride, reach = self.codec.stride[0], self.codec.decoder.reach[0]
        assert reach is not None
        begin = max(0, (first + stride - 1) // stride - reach[0])  # of the latent frames that the part depends on
        latents = coded.between(begin, latent_frames(last, stride), self.block)
        skip = first + stride - 1 - begin * stride
        return self.tiles.decode(latents, replace(coded.extent, frames=last - first), skip, coded.quality_index)

    def _coded(self, item: Item) -> CodedVideo:
        """The latents of an item, chunk by chunk. Raises as `decode` and `decompress`."""
        if isinstance(item, Latents):
            extent, values = self._check_item_and_grid(item), item.values
            return CodedVideo(
                extent,
                self.block,
                None,
                item.attachments,
                lambda chunk: [self._continuous(chunk_of(values, chunk, self.block))],
            )
        if isinstance(item, Tokens):
            extent, codes, index = self._check_item_and_grid(item), item.codes, item.quality_index
            steps = self.block if index is None else item.steps
            return CodedVideo(
                extent,
                steps,
                index,
                item.attachments,
                lambda chunk: [self._latents(chunk_of(codes, chunk, steps), index)],
            )
        header = self._header(item)
        reader, index = StreamReader(item, self.coding_tables), header.quality_index

        def latents_of(number: int) -> Iterable[Tensor]:
            chunk = reader.chunk(number)
            if chunk.model_output is not None:
                return [chunk.model_output]
            return (self._latents(part, index) for part in torch.from_numpy(chunk.codes).split(self.block, 2))

        return CodedVideo(cast(VideoExtent, header.extent), header.steps, index, reader.attachments(), latents_of)

    def _header(self, data: Bytes) -> StreamHeader:
        """Read the header of a stream and check it before memory is allocated."""
        header = super()._header(data)
        extent = cast(VideoExtent, header.extent)
        expected = (self.groups(extent.channels), self.grid(extent)) if extent.medium == self.medium.name else None
        if (header.groups, header.grid) != expected:
            raise InputError(f"expected a stream of {self.name}, got one of {extent} with a grid {header.grid}")
        if self.entropy_model and header.steps != self._steps(header.grid, extent.channels):
            raise InputError(f"expected a stream of {self.name}, got one with chunks of {header.steps} latent frames")
        return header

    def _steps(self, grid: tuple[int, ...], channels: int) -> int:
        """Latent frames that an entropy model codes together. Raises InputError for frames that are too large."""
        row = self.groups(channels) * self.codebooks * grid[1] * grid[2]
        if row > MAX_INDEXED_SYMBOLS:
            positions = MAX_INDEXED_SYMBOLS // (self.groups(channels) * self.codebooks)
            pixels = positions * self.codec.stride[1] * self.codec.stride[2]
            raise InputError(
                f"expected frames of at most {pixels} pixels for {self.name}, got {grid[1]} × {grid[2]} positions of "
                f"{self.codec.stride[1]} × {self.codec.stride[2]} pixels; make them smaller"
            )
        return band(3, row)

    def check_extent(self, extent: VideoExtent) -> None:
        """Raise InputError for frames that are too large for an entropy model."""
        if self.entropy_model is not None:
            self._steps(self.grid(extent), extent.channels)

    @torch.no_grad()
    def _latents(self, codes: Tensor, quality_index: int | None) -> Tensor:
        """Latents (S, D, t, h, w) of codes (S, k, t, h, w), those of a chunk for an entropy model."""
        codes, model = codes.to(self.device).long(), self.entropy_model
        with torch.autocast(self.device.type, enabled=False):
            if model is None or quality_index is None:
                return self.codec.bottleneck.decode(codes)
            return model.decode(codes, quality_index)

    @torch.no_grad()
    def _continuous(self, values: Tensor) -> Tensor:
        """Latents (S, D, t, h, w) of the values (S, d, t, h, w) of a continuous bottleneck."""
        with torch.autocast(self.device.type, enabled=False):
            return self.continuous.decode_latents(values.to(self.device))

    def _check_item_and_grid(self, item: Tokens | Latents) -> VideoExtent:
        """Run `check_item`, and check that the grid matches the size of the clip."""
        extent = cast(VideoExtent, self.check_item(item))
        if extent.channels not in (1, 3):
            raise InputError(f"expected a clip of 1 or 3 channels, got {extent.channels}")
        grid = tuple((item.codes if isinstance(item, Tokens) else item.values).shape[2:])
        if grid != self.grid(extent):
            size = f"{extent.frames} frames of {extent.height} × {extent.width} pixels"
            raise InputError(f"expected a grid {self.grid(extent)} for {size}, got {grid}")
        return extent

    def estimate(self, extent: VideoExtent, *, codebooks: float | None = None, **others: float | None) -> int:
        """An estimate of the bytes of the stream of a clip, before coding: its positions at the usual rate.

        Args:
            extent: frames, size and rate.
            codebooks: see `encode`.
            others: refused.

        Raises:
            InputError: for other settings, and for an entropy model, whose rate depends on the clip.
        """
        self._refuse_for_estimate(others)
        if getattr(extent, "medium", None) != self.medium.name:
            raise InputError(f"expected the extent of a clip, got {shortened(extent)}")
        if self.entropy_model is not None:
            raise InputError(
                f"expected a model of a fixed rate, got {self.name}, whose rate depends on the clip; encode it"
            )
        frames, height, width = self.grid(extent)
        bits = self.rate(self.check_codebooks(codebooks)) / self.positions_per_amount * self.groups(extent.channels)
        chunks = ceil(extent.seconds / CHUNK_SECONDS)
        return round(HEADER_BYTES + CHUNK_BYTES * chunks + bits / 8 * frames * height * width)

    def encode_signal(self, signal: Signal, **settings: float | None) -> Tokens:
        """Encode a Video to Tokens; settings as for `encode`."""
        if not isinstance(signal, media.Video):
            raise InputError(f"expected a Video for {self.name}, got a signal of {signal.medium}")
        tokens = self.encode(signal.pixels, signal.rate, **self.check_settings(settings))
        return tokens if signal.times is None else replace(tokens, attachments={TIMES: times_attachment(signal.times)})

    def encode_reader(self, reader: Reader, **settings: float | None) -> Tokens:
        """Encode an open video file to Tokens, frame by frame; settings as for `encode`. Its sound is attached."""
        file, given = self._video(reader), self.check_settings(settings)
        attached = self._sound_of_file(file)
        tokens = self.encode_frames((frame.pixels for frame in file.frames()), _rate_of_file(file), **given)
        return replace(tokens, attachments=attached | _times_of_file(file, cast(VideoExtent, tokens.extent)))

    @torch.inference_mode()
    def compress_reader(self, reader: Reader, **settings: float | None) -> Compressed:
        """See `Tokenizer.compress_reader`; with an entropy model, codes are compressed chunk by chunk."""
        model, tables = self.entropy_model, self.coding_tables
        if model is None:
            return super().compress_reader(reader, **settings)
        self._check_tables()
        assert isinstance(tables, IndexedTables)
        index, costs = self.quality_index(self.check_settings(settings).get("quality")), self.bit_costs
        coder = IndexedCoder(tables, self.codebooks, MAX_RADIX, index)

        def coded(z: Tensor) -> bytes:
            return coder.compress(model.encode(z.to(self.device), index, costs).short().cpu().numpy())

        file = self._video(reader)
        attached, frames = self._sound_of_file(file), CheckedFrames(frame.pixels for frame in file.frames())
        payloads, extent = self._encoded(frames, _rate_of_file(file), coded)
        attached |= _times_of_file(file, extent)
        shape = (self.groups(extent.channels), self.codebooks, *self.grid(extent))
        codes = torch.zeros((), dtype=torch.int16).expand(shape)  # takes no memory
        like = Tokens(codes, self.codec.bottleneck.radices, extent, self.name, self.fingerprint, index)
        return Compressed(join(like.header(tables), payloads, tables, attached), extent, attached)

    def _video(self, reader: Reader) -> media.VideoReader:
        """The reader. Raises InputError for one of another medium."""
        if not isinstance(reader, media.VideoReader):
            raise InputError(f"expected a VideoReader for {self.name}, got {type(reader).__name__}")
        return reader

    def _sound_of_file(self, reader: media.VideoReader) -> dict[str, bytes]:
        """The attachment of the sound of an open file; empty without sound."""
        sound = reader.sound()
        if sound is None:
            return {}
        return {SOUND: sound_attachment(sound, model_for_file(reader.source, self.audio, self.audio_models))}

    def open(
        self,
        source: Source,
        background: str | None = None,
        *,
        sound: bool | None = None,
        recover: bool | None = None,
    ) -> Reader:
        """See `Tokenizer.open`."""
        self.check_background(background)
        return media.VideoReader(source, sound=sound is not False, recover=bool(recover))

    def warnings(self, info: Info, attachments: Mapping[str, bytes] = MappingProxyType({})) -> list[str]:
        """Warnings about the file, and about its attached sound."""
        lost = super().warnings(info, attachments)
        if SOUND in attachments:
            lost += sound_warnings(attachments[SOUND], self.audio, self.audio_models)
        return lost

    def batch_encoder(
        self,
        batch: int = 1,
        latents: bool = False,
        background: str | None = None,
        resize: Resize | None = None,
        **settings: float | None,
    ) -> VideoBatchEncoder:
        """See `Tokenizer.batch_encoder`."""
        self.check_background(background)
        self.check_resize(resize)
        given = self.check_settings(settings)

        def encode(frames: Iterator[Frame], rate: Fraction) -> Tokens | Latents:
            return self.encode_frames_to_latents(frames, rate) if latents else self.encode_frames(frames, rate, **given)

        return VideoBatchEncoder(encode, self.check_extent)

    def decode_signal(self, item: Item) -> media.Video:
        """Decode an .nrw stream, Tokens or Latents to a Video, 8 bits per channel."""
        coded = self._coded(item)
        blocks = [levels_of(block) for block in self._blocks_of(coded, 0, coded.extent.frames)]
        rate = Fraction(coded.extent.rate, coded.extent.rate_base)
        return media.Video(np.concatenate(blocks, 1), rate, coded.times)

    def _decode_to(self, output: Output, item: Item, options: DecodeOptions) -> Extent:
        """See `decode_file`; in bounded memory. Of a part in seconds only this part is decoded; see `decode`."""
        if (with_sound := options.get("sound")) not in (None, True, False):
            raise InputError(f"expected sound as True or False, got {shortened(with_sound)}")
        coded = self._coded(item)
        extent, times = coded.extent, coded.times
        first, last = part_of_clip(extent, options.get("start") or 0.0, options.get("stop"), times)
        blocks = self._blocks_of(coded, first, last)
        frames: Iterator[NDArray[np.uint8]] = (frame for block in blocks for frame in levels_of(block).swapaxes(0, 1))
        if output.progress is not None:
            frames = reported(frames, last - first, output.progress)
        kept = None if times is None else [time - times[first] for time in times[first:last]]
        rate = Fraction(extent.rate, extent.rate_base) if kept is None else None
        sound = None if with_sound is False else self._sound(coded, first, last)
        media.write(
            output.target, frames, rate, times=kept, sound=sound, overwrite=output.overwrite, format=output.format
        )
        return replace(extent, frames=last - first)

    def _sound(self, coded: CodedVideo, first: int, last: int) -> media.Sound | None:
        """The sound while the frames [first, last) are shown; at either end, all that there is."""
        attached, extent, times = coded.attachments.get(SOUND), coded.extent, coded.times
        if attached is None:
            return None

        def time(frame: int) -> Fraction:
            return Fraction(frame * extent.rate_base, extent.rate) if times is None else times[frame]

        begin, end = time(first) if first else None, time(last) if last < extent.frames else None
        return sound_of(attached, self.audio, self.audio_models, begin, end)

    def recover(self, data: Bytes) -> tuple[Tokens, list[tuple[float, float]]]:
        """Recover a damaged .nrw stream: the Tokens with grey for lost chunks, and the lost spans in seconds.

        Raises what `decompress` raises for the header, model and tables, and DamagedStream if no chunk is intact.
        """
        header = self._header(data)
        extent = cast(VideoExtent, header.extent)
        recovered = recover(data, self.coding_tables)
        codes, stride, spans = torch.from_numpy(recovered.codes), self.codec.stride[0], []
        grey = np.full((extent.channels, extent.height, extent.width), 128, np.uint8)
        for lost in recovered.damaged:
            frames = repeat(grey, (lost.stop - lost.start - 1) * stride + 1)
            found = self._encode_frames(frames, Fraction(1), header.quality_index or 0, codes.shape[1]).codes
            codes[:, :, lost.start : lost.stop] = found
            first, last = max(0, lost.start * stride - stride + 1), min(lost.stop * stride - stride + 1, extent.frames)
            spans.append((first * extent.rate_base / extent.rate, last * extent.rate_base / extent.rate))
        intact = {name: payload for name, payload in recovered.attachments.items() if payload is not None}
        fingerprint = header.fingerprint.hex()
        return Tokens(codes, header.radices, extent, header.model, fingerprint, header.quality_index, intact), spans


def _rate_of_file(reader: media.VideoReader) -> Fraction:
    """The frame rate of an open file, on average."""
    extent = reader.counted().extent
    return Fraction(extent.rate, extent.rate_base)


def _times_of_file(reader: media.VideoReader, extent: VideoExtent) -> dict[str, bytes]:
    """The attachment of the times of the frames of an open file, fewer than counted where a damaged one is recovered.

    Empty for a constant rate.
    """
    times = reader.counted().times
    return {} if times is None else {TIMES: times_attachment(times[: extent.frames])}
