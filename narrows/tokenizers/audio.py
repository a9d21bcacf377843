"""The audio tokenizer: an audio codec with resampling, channel groups, exact lengths and windows.

any rate, C channels ─ resample ─ groups of channels ─ windows ─ codec ─▶ Tokens ─▶ the same steps in reverse
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from types import MappingProxyType
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from narrows.bitstream import recover
from narrows.codecs.codec import Codec
from narrows.errors import InputError, shortened
from narrows.media import audio as media
from narrows.media.audio.limits import MAX_AUDIO_CHANNELS, check_rate
from narrows.media.buffers import Bytes
from narrows.media.extents import MAX_COUNT, AudioExtent, Extent, check_integer
from narrows.media.files import Source
from narrows.media.image.resize import Resize
from narrows.media.medium import Info, Medium, Reader, Signal
from narrows.parts import part
from narrows.tokenizers.audio_blocks import (
    Array,
    CheckedBlocks,
    as_block,
    windows_of_known_length,
    windows_of_unknown_length,
)
from narrows.tokenizers.audio_parts import part_of, reported, source_of, take
from narrows.tokenizers.batches import BatchEncoder, Batches
from narrows.tokenizers.channels import group_channels, ungroup_channels
from narrows.tokenizers.estimates import CHUNK_BYTES, HEADER_BYTES
from narrows.tokenizers.resampling import Block, resample_blocks
from narrows.tokenizers.settings import DecodeOptions, Output, check_numbers
from narrows.tokenizers.side_by_side import lanes
from narrows.tokenizers.tokenizer import Item, Tokenizer
from narrows.tokenizers.tokens import CHUNK_SECONDS, Latents, Tokens
from narrows.tokenizers.windows import Window, cut, decode_tiles, rounded_up, tiles

READ_SAMPLES = 1 << 18  # samples per block that is read from a file
# Length of batched windows, in reaches of the encoder: about a third of the work is overlap, and few recordings are
# shorter than a window.
BATCHED_WINDOW = 8
SHORTEST_WINDOW, LONGEST_WINDOW = 4, 32  # length of other windows, in the same unit
Piece = tuple[Window, Block] | AudioExtent  # a window with its samples; the last piece is the extent of the recording


@part("audio-tokenizer")
class AudioTokenizer(Tokenizer):
    """Tokenizes recordings of any sample rate, channel count and length with an audio codec of one sample rate.

    Long recordings are processed in overlapping windows of at most `window_seconds`, so memory does not grow with their
    length. The result is the same as without windows. A codec with an unbounded reach (global attention) processes
    every recording whole.

    Args:
        codec: the codec, with one signal axis.
        sample_rate: sample rate of the codec, in Hz.

    Attributes:
        window_seconds: length of the longest window.

    Raises:
        InputError: for a codec with another number of axes, or a sample rate out of range.
    """

    medium: ClassVar[Medium] = media.MEDIUM
    decode_options: ClassVar[tuple[str, ...]] = ("start", "stop")
    window_seconds: float = 10.0

    def __init__(self, codec: Codec, sample_rate: int) -> None:
        check_rate(sample_rate)
        super().__init__(codec)
        self._sample_rate = int(sample_rate)
        ((self._encoder_reach,), (self._decoder_reach,)) = codec.encoder.reach, codec.decoder.reach
        (self._stride,) = codec.stride

    @property
    def sample_rate(self) -> int:
        """Sample rate of the codec, in Hz."""
        return self._sample_rate

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""
        return self.sample_rate / self._stride

    @property
    def positions_per_amount(self) -> float:
        """Latent frames per second."""
        return self.frame_rate

    @property
    def settings(self) -> tuple[str, ...]:
        """`codebooks` and `bitrate` if the codec has codebooks, otherwise empty."""
        return ("codebooks", "bitrate") if self.codebooks else ()

    @property
    def window(self) -> int:
        """Length of the longest window in frames: `window_seconds`, but 4 to 32 reaches, and then at least a second.

        Longer windows would save little, and take more memory; windows of a recording are computed side by side.
        """
        if not self.codec.bounded:
            return sys.maxsize
        assert self._encoder_reach is not None
        assert self._decoder_reach is not None
        reach = max(self._encoder_reach + self._decoder_reach)
        longest = round(self.window_seconds * self.frame_rate)
        return max(SHORTEST_WINDOW * reach, min(longest, max(LONGEST_WINDOW * reach, round(self.frame_rate))))

    def bitrate(self, codebooks: int | None = None) -> float:
        """kbit/s of one channel group with the first `codebooks` codebooks; see `rate`."""
        return self.rate(codebooks)

    def codebooks_for(self, bitrate: float, channels: int = 1) -> int:
        """The largest number of codebooks whose rate is at most `bitrate` kbit/s for all channels together.

        Raises InputError if even the lowest rate is above `bitrate`; the message names it.
        """
        check_numbers(bitrate=bitrate)
        rates = {k: self.rate(k) * self.groups(channels) for k in self.codec.bottleneck.prefixes}
        fitting = [k for k, rate in rates.items() if rate <= bitrate]
        if not fitting:
            lowest = ceil(100 * min(rates.values()) - 1e-6) / 100  # rounded up, so that it is accepted
            of_channels = f" and {channels} channels" if self.groups(channels) > 1 else ""
            raise InputError(
                f"expected a bitrate of at least {lowest:.2f} kbit/s for {self.name}{of_channels}, got "
                f"{shortened(bitrate)}"
            )
        return max(fitting)

    def encode(
        self, x: Array, sample_rate: int, *, codebooks: int | None = None, bitrate: float | None = None
    ) -> Tokens:
        """Encode audio to Tokens.

        Args:
            x: (T,) or (C, T), floats with full scale ±1, T at least 1.
            sample_rate: sample rate of `x`, in Hz.
            codebooks: number of codebooks to keep; None for all K.
            bitrate: instead of `codebooks`, the highest allowed rate in kbit/s of all channels together.

        Raises:
            InputError: for a wrong shape, rate or setting, and for samples that are not finite.
        """
        block = as_block(x)
        return self.encode_blocks([block], block.shape[1], sample_rate, codebooks=codebooks, bitrate=bitrate)

    def encode_batch(
        self,
        signals: Sequence[Array],
        sample_rate: int,
        *,
        codebooks: int | None = None,
        bitrate: float | None = None,
    ) -> list[Tokens]:
        """Encode signals of different lengths in batches; returns the Tokens of each signal.

        Windows of equal shape, also of different signals, go through the network `batch` at a time. The Tokens equal
        those of `encode`, except where rounding errors decide between two nearly equal codes.
        """
        window = self.window if self.batch > 1 else None
        encoder = self._encoder(self.batch, False, self._choice(codebooks, bitrate), window)
        blocks = [as_block(x) for x in signals]
        results = [encoder.add(encoder.windows([x], x.shape[1], sample_rate)) for x in blocks]
        encoder.finish()
        return [cast(Tokens, result()) for result in results]

    def estimate(
        self,
        seconds: float,
        *,
        channels: int = 1,
        codebooks: int | None = None,
        bitrate: float | None = None,
        **others: float | None,
    ) -> int:
        """An estimate of the bytes of the stream of a recording, before coding.

        From the entropies of the frequency tables: exact without tables, else as good as the recording is like those
        that the tables were made from; docs/audio.md has measured errors.

        Args:
            seconds: duration, above 0.
            channels: number of channels, 1 to 64.
            codebooks, bitrate: see `encode`.
            others: refused.

        Raises:
            InputError: for a setting out of range, and for other settings.
        """
        self._refuse_for_estimate(others)
        check_numbers(seconds=seconds)
        longest = MAX_COUNT / self.sample_rate  # seconds
        if seconds is None or not 0 < seconds <= longest:
            raise InputError(f"expected seconds above 0 and up to {longest:.3g}, got {shortened(seconds)}")
        check_integer(channels, MAX_AUDIO_CHANNELS, "channels")
        rate = self.rate(self._choice(codebooks, bitrate)(channels)) * self.groups(channels)  # kbit/s
        return round(HEADER_BYTES + CHUNK_BYTES * ceil(seconds / CHUNK_SECONDS) + 125 * rate * seconds)

    def encode_blocks(
        self,
        blocks: Iterable[Block],
        samples: int | None,
        sample_rate: int,
        *,
        codebooks: float | None = None,
        bitrate: float | None = None,
    ) -> Tokens:
        """Encode consecutive blocks of a signal to Tokens, in bounded memory.

        Args:
            blocks: blocks (C, n), float32.
            samples: samples per channel of all blocks together; None if this is not known in advance.
            sample_rate: sample rate of the blocks, in Hz.
            codebooks, bitrate: see `encode`.

        Raises:
            InputError: for blocks of another shape or type, samples that are not finite, and a number of samples that
                is not `samples`.
        """
        return cast(Tokens, self._encode(blocks, samples, sample_rate, self._choice(codebooks, bitrate)))

    def encode_latents(self, x: Array, sample_rate: int) -> Latents:
        """Encode audio to the Latents of a continuous bottleneck, without quantization. `x` as for `encode`.

        Raises InputError for a model with another bottleneck, and as `encode` does.
        """
        block = as_block(x)
        return cast(Latents, self._encode([block], block.shape[1], sample_rate))

    def encode_signal(self, signal: Signal, **settings: float | None) -> Tokens:
        """Encode an Audio to Tokens; settings as for `encode`."""
        if not isinstance(signal, media.Audio):
            raise InputError(f"expected an Audio for {self.name}, got a signal of {signal.medium}")
        x = signal.samples
        return self.encode_blocks([x], x.shape[1], signal.sample_rate, **self.check_settings(settings))

    def encode_reader(self, reader: Reader, **settings: float | None) -> Tokens:
        """Encode an open audio file to Tokens, block by block; settings as for `encode`."""
        if not isinstance(reader, media.AudioReader):
            raise InputError(f"expected an AudioReader for {self.name}, got {type(reader).__name__}")
        given = self.check_settings(settings)
        return self.encode_blocks(reader.blocks(READ_SAMPLES), reader.samples, reader.sample_rate, **given)

    def batch_encoder(
        self,
        batch: int = 1,
        latents: bool = False,
        background: str | None = None,
        resize: Resize | None = None,
        **settings: float | None,
    ) -> "AudioBatchEncoder":
        """See `Tokenizer.batch_encoder`."""
        self.check_background(background)
        self.check_resize(resize)
        given = self.check_settings(settings)
        reach = self._encoder_reach
        window = BATCHED_WINDOW * max(1, max(reach)) if batch > 1 and reach is not None else None
        return self._encoder(batch, latents, None if latents else self._choice(**given), window)

    def decode(self, tokens: Tokens, start: float = 0.0, stop: float | None = None) -> Tensor:
        """Decode Tokens to audio (C, T) float32, with the sample rate, length and channels of the encoded recording.

        Args:
            tokens: the Tokens.
            start, stop: decode this part only, in seconds; None for the end. The work is that for the part. The result
                equals the samples from round(start · rate) to round(stop · rate) of the whole, up to rounding errors.

        Raises:
            WrongModel: for tokens of another model.
            InputError: for codes that do not match their extent, and for a part outside of the recording.
        """
        return torch.from_numpy(np.concatenate(list(self.decode_blocks(tokens, start, stop)), 1))

    def decode_latents(self, latents: Latents, start: float = 0.0, stop: float | None = None) -> Tensor:
        """Decode Latents to audio (C, T) float32; see `decode`."""
        return torch.from_numpy(np.concatenate(list(self.decode_blocks(latents, start, stop)), 1))

    def decode_signal(self, item: Item) -> media.Audio:
        """Decode an .nrw stream, Tokens or Latents to an Audio."""
        item = item if isinstance(item, Tokens | Latents) else self.decompress(item)
        blocks = self.decode_blocks(item)
        return media.Audio(np.concatenate(list(blocks), 1), cast(AudioExtent, item.extent).sample_rate)

    def _decode_to(self, output: Output, item: Item, options: DecodeOptions) -> Extent:
        """See `decode_file`; in bounded memory. Of a part in seconds only this part is decoded; see `decode`."""
        item = item if isinstance(item, Tokens | Latents) else self.decompress(item)
        start, stop = options.get("start"), options.get("stop")
        start = 0.0 if start is None else start
        blocks = self.decode_blocks(item, start, stop)
        extent = cast(AudioExtent, item.extent)
        first, last = part_of(extent, start, stop)
        if output.progress is not None:
            blocks = reported(blocks, last - first, output.progress)
        media.write(output.target, blocks, extent.sample_rate, overwrite=output.overwrite, format=output.format)
        return replace(extent, samples=last - first)

    def decode_blocks(self, item: Tokens | Latents, start: float = 0.0, stop: float | None = None) -> Iterator[Block]:
        """Decode Tokens or Latents to consecutive blocks (C, n), in bounded memory; arguments as of `decode`."""
        extent = cast(AudioExtent, self.check_item(item))
        values = item.codes if isinstance(item, Tokens) else item.values
        frames = self.frames(extent.samples, extent.sample_rate)
        if values.shape[2] != frames:
            raise InputError(
                f"expected {frames} frames for {extent.samples} samples at {extent.sample_rate} Hz, got "
                f"{values.shape[2]}"
            )
        network = self.codec.decode if isinstance(item, Tokens) else self._synthesize
        first, last = part_of(extent, start, stop)
        source, skipped = source_of(first, last, extent.sample_rate, self.sample_rate, frames * self._stride)
        needed = slice(source.start // self._stride, -(-source.stop // self._stride))
        before, after = self._decoder_reach or (frames, frames)
        context = slice(max(0, needed.start - before), min(frames, needed.stop + after))
        blocks = self._decode(network, values[:, :, context], extent.channels)
        signal = take(blocks, source.start - context.start * self._stride, source.stop - source.start)
        resampled = resample_blocks(signal, self.sample_rate, extent.sample_rate, skipped + last - first)
        return take(resampled, skipped, last - first)

    def frames(self, samples: int, sample_rate: int) -> int:
        """Number of latent frames that cover a recording at the sample rate of the codec."""
        return -(-self._resampled(samples, sample_rate) // self._stride)

    def network_samples(self, samples: int, sample_rate: int) -> int:
        """Number of samples that the encoder gets for a recording: of whole frames, unless it pads by itself."""
        if self.codec.encoder.any_length:
            return self._resampled(samples, sample_rate)
        return self.frames(samples, sample_rate) * self._stride

    def warnings(self, info: Info, attachments: Mapping[str, bytes] = MappingProxyType({})) -> list[str]:
        """Warnings about bandwidth and relative phases of channels that this model does not preserve."""
        assert isinstance(info, media.AudioInfo)
        lost = super().warnings(info, attachments)
        if info.sample_rate > self.sample_rate:
            lost.append(f"{self.name} keeps up to {self.sample_rate / 2000:g} kHz, of {info.sample_rate / 2000:g} kHz")
        if info.channels > self.codec.channels:
            lost.append(f"its {info.channels} channels are coded separately, so their relative phases may change")
        return lost

    def recover(self, data: Bytes) -> tuple[Tokens, list[tuple[float, float]]]:
        """Recover a damaged .nrw stream: the Tokens with silence for lost chunks, and the lost spans in seconds.

        Raises what `decompress` raises for the header, model and tables, and DamagedStream if no chunk is intact.
        """
        header = self._header(data)
        recovered = recover(data, self.tables)
        extent = header.extent
        if not isinstance(extent, AudioExtent):
            raise InputError(f"expected a stream of audio, got one of {extent.medium}")
        codes = torch.from_numpy(recovered.codes)
        frames = 2 * max(self._encoder_reach or (0, 0)) + 1
        x = torch.zeros(self.codec.channels, frames * self._stride)
        silence = self.encode(x, self.sample_rate).codes[0, :, frames // 2]
        spans = []
        for lost in recovered.damaged:
            codes[:, :, lost.start : lost.stop] = silence[: codes.shape[1], None]
            spans.append((lost.start / self.frame_rate, min(lost.stop / self.frame_rate, extent.seconds)))
        return Tokens(codes, header.radices, extent, header.model, header.fingerprint.hex()), spans

    def _resampled(self, samples: int, sample_rate: int) -> int:
        """Number of samples at the rate of the codec, rounded up."""
        check_rate(sample_rate)
        if samples < 1:
            raise InputError("expected a signal of at least 1 sample, got 0")
        return -(-samples * self.sample_rate // sample_rate)

    def _choice(self, codebooks: float | None = None, bitrate: float | None = None) -> Callable[[int], int]:
        """The number of codebooks by the number of channels, which is known once a recording is open."""
        if bitrate is None:
            number = self.check_codebooks(codebooks)
            return lambda channels: number
        if codebooks is not None:
            raise InputError("expected codebooks or a bitrate, got both; leave one out")
        self.codebooks_for(bitrate)  # raises for a bitrate that is too low for any number of channels
        return partial(self.codebooks_for, bitrate)

    def _encoder(
        self, batch: int, latents: bool, codebooks: Callable[[int], int] | None, window: int | None = None
    ) -> "AudioBatchEncoder":
        return AudioBatchEncoder(self, batch, latents, codebooks, window)

    def _encode(
        self,
        blocks: Iterable[Block],
        samples: int | None,
        sample_rate: int,
        codebooks: Callable[[int], int] | None = None,
    ) -> Tokens | Latents:
        encoder = self._encoder(self.batch, codebooks is None, codebooks)
        result = encoder.add(encoder.windows(blocks, samples, sample_rate))
        encoder.finish()
        return result()

    def _synthesize(self, latents: Tensor) -> Tensor:
        return self.codec.synthesize(self.continuous.decode_latents(latents))

    @torch.inference_mode()
    def _decode(self, network: Callable[[Tensor], Tensor], values: Tensor, channels: int) -> Iterator[Block]:
        """The output (C, n) of the network for values (S, k, F), window by window."""

        def run(pieces: Tensor) -> Tensor:
            with torch.autocast(self.device.type, enabled=False):
                return network(pieces.to(self.device)).float().cpu()

        windows = tiles(lambda: cut(values.shape[2], self.window, self._decoder_reach))
        for _, x in decode_tiles(values, windows, self.codec.stride, run, self.batch, lanes(self.device)):
            yield ungroup_channels(x, channels).numpy()


class AudioBatchEncoder(BatchEncoder):
    """Encodes recordings to Tokens or Latents.

    Args:
        tokenizer: the tokenizer.
        batch: windows per call of the network.
        latents: whether to make Latents instead of Tokens.
        codebooks: number of codebooks to keep, by the number of channels; None for Latents.
        window: frames per window, so that windows of different recordings have the same shape. None: each recording is
            split into windows of equal length, of at most `tokenizer.window` frames.
    """

    def __init__(
        self,
        tokenizer: AudioTokenizer,
        batch: int,
        latents: bool,
        codebooks: Callable[[int], int] | None,
        window: int | None = None,
    ) -> None:
        self.tokenizer, self.codebooks, self.latents, self.window = tokenizer, codebooks, latents, window
        codec = tokenizer.codec
        bottleneck = tokenizer.continuous.encode_latents if latents else codec.bottleneck.encode
        run = partial(self._run, lambda x: bottleneck(codec.analyze(x)))
        self._batches = Batches[Block, Tensor](run, batch, lanes(tokenizer.device))

    @property
    def seconds(self) -> float:
        """Time spent in the network."""
        return self._batches.seconds

    @property
    def _may_be_longer(self) -> bool:
        """Whether zeros after a recording change none of its codes, so that more recordings are of one shape."""
        reach = self.tokenizer._encoder_reach
        return (
            self.window is not None
            and reach is not None
            and reach[1] == 0
            and not self.tokenizer.codec.encoder.any_length
        )

    def finish(self) -> None:
        """Encode the windows that still wait for a full batch."""
        self._batches.finish()

    def read(self, source: Source) -> Iterator[Piece]:
        """The windows of a file, which is opened and decoded once."""
        with media.AudioReader(source) as reader:
            yield from self.windows(reader.blocks(READ_SAMPLES), reader.samples, reader.sample_rate)

    def windows(self, blocks: Iterable[Block], samples: int | None, sample_rate: int) -> Iterator[Piece]:
        """The windows of consecutive blocks. Arguments and errors are those of `encode_blocks`."""
        tokenizer = self.tokenizer
        (stride,), reach = tokenizer.codec.stride, tokenizer._encoder_reach
        checked, size = CheckedBlocks(blocks, samples), self.window or tokenizer.window

        def length() -> int:
            """Samples for the encoder; known once all blocks are read."""
            return tokenizer.network_samples(checked.samples, sample_rate)

        if samples is None:
            signal = resample_blocks(checked, sample_rate, tokenizer.sample_rate, length, stride)
            yield from windows_of_unknown_length(
                signal, size, reach or (0, 0), stride
            )  # with an unbounded reach, `size` is unlimited
        else:
            frames, total = tokenizer.frames(samples, sample_rate), tokenizer.network_samples(samples, sample_rate)
            windows = cut(frames, size, reach, fixed=self.window is not None)
            if self._may_be_longer and frames < size:
                longer = rounded_up(frames)
                windows, total = (Window(0, longer, 0, frames),), longer * stride
            signal = resample_blocks(checked, sample_rate, tokenizer.sample_rate, total)
            yield from windows_of_known_length(windows, signal, stride, total)
        for _ in signal:  # reads to the end, where the number of samples is checked
            pass
        yield AudioExtent(int(sample_rate), checked.samples, checked.channels)

    def add(self, pieces: Iterator[Piece]) -> Callable[[], Tokens | Latents]:
        """Encode the windows of a recording; see `BatchEncoder.add`."""
        encoded, extents = dict[int, Tensor](), list[AudioExtent]()
        for number, piece in enumerate(pieces):
            if isinstance(piece, AudioExtent):
                extents.append(piece)
                continue
            window, x = piece

            def receive(values: Tensor, number: int = number, kept: slice = window.kept) -> None:
                encoded[number] = values[:, :, kept]

            self._batches.add(x.shape, x, receive)  # a last window of another shape may arrive before earlier ones
        return partial(self._joined, encoded, extents[0])

    def _joined(self, encoded: Mapping[int, Tensor], extent: AudioExtent) -> Tokens | Latents:
        tokenizer, pieces = self.tokenizer, [encoded[number] for number in range(len(encoded))]
        if self.codebooks is None:
            return Latents(torch.cat(pieces, 2), extent, tokenizer.name, tokenizer.fingerprint)
        kept = self.codebooks(extent.channels)
        codes = torch.cat([piece[:, :kept] for piece in pieces], 2)
        radices = tokenizer.codec.bottleneck.radices[:kept]
        return Tokens(codes, radices, extent, tokenizer.name, tokenizer.fingerprint)

    @torch.inference_mode()
    def _run(self, network: Callable[[Tensor], Tensor], windows: Sequence[Block]) -> list[Tensor]:
        """Run the network on windows (C, T) of one shape; returns its output (S, K, F) for each window."""
        x, device = torch.from_numpy(np.stack(windows)), self.tokenizer.device
        x = group_channels(x, self.tokenizer.codec.channels)  # (n, S, c, T)
        with torch.autocast(device.type, enabled=False):
            values = network(x.flatten(0, 1).to(device)).cpu()
        values = values.float() if self.latents else values
        return list(values.unflatten(0, x.shape[:2]))
