"""Audio to tokens and back: an audio codec with resampling, channel groups, exact lengths and windows.

any rate, C channels ─ resample ─ groups of channels ─ windows ─ codec ─▶ Tokens ─▶ the same in reverse
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.bitstream import read_header, recover
from narrows.codecs.codec import Codec
from narrows.errors import InputError
from narrows.media import audio as media
from narrows.media.audio_limits import channels_error, finite_error, sample_rate_error
from narrows.media.extents import AudioExtent, Extent
from narrows.media.files import Source, StrPath
from narrows.media.medium import Info, Medium, Reader, Signal
from narrows.parts import part
from narrows.tokenizers.batches import Batches
from narrows.tokenizers.channels import as_array, group_channels, ungroup_channels
from narrows.tokenizers.resampling import Block, resampled
from narrows.tokenizers.tokenizer import Encoding, Tokenizer, check_numbers
from narrows.tokenizers.tokens import Latents, Tokens
from narrows.tokenizers.windows import Window, cut, decode_tiles, tiles

MAX_AMPLITUDE = 1e6  # full scale is 1; louder samples are clipped, so that no square of them is infinite
READ_SAMPLES = 1 << 18  # per block of a file
BATCHED_WINDOW = 8  # reaches of the encoder in a window of batches: overlap costs a third, few recordings are shorter
Array = Tensor | NDArray[np.floating]
Piece = tuple[Window, Block] | AudioExtent  # windows with their samples, and at the end the size of the recording


@part("audio-tokenizer")
class AudioTokenizer(Tokenizer):
    """A codec for audio at one sample rate, for recordings of any rate, channel count and length.

    Long recordings are cut into windows of `window_seconds` at most, whose results are those of the whole, so that
    memory does not grow with length. A codec with an unbounded reach (global attention) takes a recording whole.

    Args:
        codec: the network, of one signal axis.
        sample_rate: of the codec, in Hz.

    Attributes:
        window_seconds: longest window.

    Raises:
        InputError: for a codec of other axes or a sample rate out of range.
    """

    medium: ClassVar[Medium] = media.MEDIUM
    window_seconds: float = 10.0

    def __init__(self, codec: Codec, sample_rate: int) -> None:
        _check_rate(sample_rate)
        super().__init__(codec)
        self._sample_rate = int(sample_rate)
        ((self._encoder_reach,), (self._decoder_reach,)) = codec.encoder.reach, codec.decoder.reach
        (self._stride,) = codec.stride

    @property
    def sample_rate(self) -> int:
        """Of the codec, in Hz."""
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
        """`codebooks` and `bitrate`, where there is a choice of codebooks."""
        return ("codebooks", "bitrate") if self.codebooks else ()

    @property
    def window(self) -> int:
        """Longest window in frames: `window_seconds`, and at least four times the reach."""
        if not self.codec.bounded:
            return sys.maxsize
        assert self._encoder_reach is not None
        assert self._decoder_reach is not None
        return max(round(self.window_seconds * self.frame_rate), 4 * max(self._encoder_reach + self._decoder_reach))

    def bitrate(self, codebooks: int | None = None) -> float:
        """kbit/s of one group of channels with the first `codebooks`, see `rate`."""
        return self.rate(codebooks)

    def codebooks_for(self, bitrate: float) -> int:
        """The largest number of codebooks whose rate is at most `bitrate` kbit/s per group of channels.

        Raises InputError where not even the smallest fits; the message names the rates there are.
        """
        check_numbers(bitrate=bitrate)
        prefixes = self.codec.bottleneck.prefixes
        fitting = [k for k in prefixes if self.rate(k) <= bitrate]
        if not fitting:
            rates = ", ".join(f"{self.rate(k):.2f}" for k in prefixes)
            raise InputError(f"expected a bitrate of at least one of {rates} kbit/s for {self.name}, got {bitrate:g}")
        return max(fitting)

    def encode(
        self, x: Array, sample_rate: int, *, codebooks: int | None = None, bitrate: float | None = None
    ) -> Tokens:
        """Audio to Tokens.

        Args:
            x: (T,) or (C, T), floats with full scale ±1, T at least 1.
            sample_rate: of x, in Hz.
            codebooks: how many of the K to keep; None for all of them.
            bitrate: instead of `codebooks`, at most so many kbit/s per group of channels.

        Raises:
            InputError: for a wrong shape, rate or setting, and for samples that are not finite.
        """
        block = _as_block(x)
        return self.encode_blocks([block], block.shape[1], sample_rate, codebooks=codebooks, bitrate=bitrate)

    def encode_batch(
        self,
        signals: Sequence[Array],
        sample_rate: int,
        *,
        codebooks: int | None = None,
        bitrate: float | None = None,
    ) -> list[Tokens]:
        """Each of several signals of different lengths to its Tokens, as `encode` gives them up to float ties.

        Windows of one shape, of whichever signals, go through the network `batch` at a time.
        """
        window = self.window if self.batch > 1 else None
        encoding = AudioEncoding(self, self.batch, False, self._chosen(codebooks, bitrate), window)
        blocks = [_as_block(x) for x in signals]
        found = [encoding.add(encoding.cut([x], x.shape[1], sample_rate)) for x in blocks]
        encoding.finish()
        return [cast(Tokens, result()) for result in found]

    def encode_blocks(
        self,
        blocks: Iterable[Block],
        samples: int | None,
        sample_rate: int,
        *,
        codebooks: float | None = None,
        bitrate: float | None = None,
    ) -> Tokens:
        """Consecutive blocks of a signal to Tokens, in bounded memory.

        Args:
            blocks: (C, n) float32.
            samples: per channel, of all blocks; None where nobody knows before the end.
            sample_rate: of the blocks, in Hz.
            codebooks, bitrate: as `encode` takes them.

        Raises:
            InputError: for blocks of other shapes or types, samples that are not finite, and fewer or more of them.
        """
        return cast(Tokens, self._encoded(blocks, samples, sample_rate, False, self._chosen(codebooks, bitrate)))

    def encode_latents(self, x: Array, sample_rate: int) -> Latents:
        """Audio, as `encode` takes it, to the Latents of a continuous bottleneck; nothing is rounded.

        Raises InputError for another bottleneck, and as `encode`.
        """
        block = _as_block(x)
        return cast(Latents, self._encoded([block], block.shape[1], sample_rate, True, 0))

    def encode_signal(self, signal: Signal, **settings: float | None) -> Tokens:
        """An Audio to Tokens; settings as `encode` takes them."""
        if not isinstance(signal, media.Audio):
            raise InputError(f"expected an Audio for {self.name}, got a signal of {signal.medium}")
        self.check_settings(settings)
        x = signal.samples
        return self.encode_blocks([x], x.shape[1], signal.sample_rate, **settings)

    def encode_reader(self, reader: Reader, **settings: float | None) -> Tokens:
        """An open audio file to Tokens, read block by block; settings as `encode` takes them."""
        if not isinstance(reader, media.AudioReader):
            raise InputError(f"expected an AudioReader for {self.name}, got {type(reader).__name__}")
        self.check_settings(settings)
        return self.encode_blocks(reader.blocks(READ_SAMPLES), reader.samples, reader.sample_rate, **settings)

    def encoding(self, batch: int = 1, latents: bool = False, **settings: float | None) -> "AudioEncoding":
        """An AudioEncoding of files, see `Tokenizer.encoding`."""
        self.check_settings(settings)
        reach = self._encoder_reach
        window = BATCHED_WINDOW * max(1, max(reach)) if batch > 1 and reach is not None else None
        return AudioEncoding(self, batch, latents, 0 if latents else self._chosen(**settings), window)

    def decode(self, tokens: Tokens) -> Tensor:
        """Tokens to audio (C, T) float32 of the rate, length and channels that the recording had.

        Raises WrongModel for tokens of another model, InputError for codes that do not fit their extent.
        """
        return torch.from_numpy(np.concatenate(list(self.decode_blocks(tokens)), 1))

    def decode_latents(self, latents: Latents) -> Tensor:
        """Latents to audio (C, T) float32, as `decode`."""
        return torch.from_numpy(np.concatenate(list(self.decode_blocks(latents)), 1))

    def decode_signal(self, item: Tokens | Latents) -> media.Audio:
        """Tokens or Latents to an Audio."""
        blocks = self.decode_blocks(item)
        return media.Audio(np.concatenate(list(blocks), 1), cast(AudioExtent, item.extent).sample_rate)

    def decode_file(self, item: bytes | Tokens | Latents, path: StrPath, *, overwrite: bool = False) -> Extent:
        """An .nrw stream, Tokens or Latents to an audio file, see `Tokenizer.decode_file`; in bounded memory."""
        item = item if isinstance(item, Tokens | Latents) else self.decompress(item)
        blocks = self.decode_blocks(item)
        extent = cast(AudioExtent, item.extent)
        media.write(path, blocks, extent.sample_rate, overwrite=overwrite)
        return extent

    def decode_blocks(self, item: Tokens | Latents) -> Iterator[Block]:
        """Tokens or Latents to consecutive blocks (C, n) of the recording, in bounded memory. Raises as `decode`."""
        extent = cast(AudioExtent, self.check_item(item))
        values = item.codes if isinstance(item, Tokens) else item.values
        wanted = self.frames(extent.samples, extent.sample_rate)
        if values.shape[2] != wanted:
            raise InputError(
                f"expected {wanted} frames for {extent.samples} samples at {extent.sample_rate} Hz, got "
                f"{values.shape[2]}"
            )
        network = self.codec.decode if isinstance(item, Tokens) else self._synthesize
        blocks = self._decoded(network, values, extent.channels)
        return resampled(blocks, self.sample_rate, extent.sample_rate, extent.samples)

    def frames(self, samples: int, sample_rate: int) -> int:
        """Latent frames of a recording: as many as cover it at the rate of the codec."""
        _check_rate(sample_rate)
        if samples < 1:
            raise InputError("expected a signal of at least 1 sample, got 0")
        ours = -(-samples * self.sample_rate // sample_rate)  # samples at the codec's rate, rounded up
        return -(-ours // self._stride)

    def losses(self, info: Info) -> list[str]:
        """What of a file this model does not keep: bandwidth, and phases between channels coded side by side."""
        assert isinstance(info, media.AudioInfo)
        found = super().losses(info)
        if info.sample_rate > self.sample_rate:
            found.append(f"{self.name} keeps up to {self.sample_rate / 2000:g} kHz, of {info.sample_rate / 2000:g} kHz")
        if info.channels > self.codec.channels:
            found.append(f"its {info.channels} channels are coded separately, so their relative phases may change")
        return found

    def recover(self, data: bytes) -> tuple[Tokens, list[tuple[float, float]]]:
        """What a damaged .nrw stream still holds, silence where chunks are lost, and the lost spans in seconds.

        Raises what `decompress` raises for header, model and tables, and DamagedStream where nothing is left.
        """
        header = read_header(data)
        self.check_model(header.model, header.fingerprint.hex())
        found = recover(data, self.tables)
        extent = header.extent
        if not isinstance(extent, AudioExtent):
            raise InputError(f"expected a stream of audio, got one of {extent.medium}")
        codes = torch.from_numpy(found.codes)
        frames = 2 * max(self._encoder_reach or (0, 0)) + 1
        x = torch.zeros(self.codec.channels, frames * self._stride)
        silence = self.encode(x, self.sample_rate).codes[0, :, frames // 2]
        spans = []
        for lost in found.damaged:
            codes[:, :, lost.start : lost.stop] = silence[: codes.shape[1], None]
            spans.append((lost.start / self.frame_rate, min(lost.stop / self.frame_rate, extent.seconds)))
        return Tokens(codes, header.radices, extent, header.model, header.fingerprint.hex()), spans

    def _chosen(self, codebooks: float | None = None, bitrate: float | None = None) -> int:
        if bitrate is None:
            return self.check_codebooks(codebooks)
        if codebooks is not None:
            raise InputError("expected codebooks or a bitrate, got both; leave one out")
        return self.codebooks_for(bitrate)

    def _encoded(
        self, blocks: Iterable[Block], samples: int | None, sample_rate: int, latents: bool, codebooks: int
    ) -> Tokens | Latents:
        encoding = AudioEncoding(self, self.batch, latents, codebooks)
        result = encoding.add(encoding.cut(blocks, samples, sample_rate))
        encoding.finish()
        return result()

    def _synthesize(self, latents: Tensor) -> Tensor:
        return self.codec.decoder(self.continuous.decode_latents(latents))

    @torch.no_grad()
    def _decoded(self, network: Callable[[Tensor], Tensor], values: Tensor, channels: int) -> Iterator[Block]:
        """The output (C, n) of the network for values (S, k, F), window by window."""

        def run(pieces: Tensor) -> Tensor:
            with torch.autocast(self.device.type, enabled=False):
                return network(pieces.to(self.device)).float().cpu()

        where = tiles(lambda: cut(values.shape[2], self.window, self._decoder_reach))
        for _, x in decode_tiles(values, where, self.codec.stride, run, self.batch):
            yield ungroup_channels(x, channels).numpy()


class AudioEncoding(Encoding):
    """Recordings to codes or latents.

    Args:
        tokenizer: the model.
        batch: windows per call of the network.
        latents: to Latents instead of Tokens.
        codebooks: how many to keep.
        window: frames of each window, so that windows of many recordings have one shape; None for windows as equal as
            they can be within each recording, of at most `tokenizer.window` frames.
    """

    def __init__(
        self, tokenizer: AudioTokenizer, batch: int, latents: bool, codebooks: int, window: int | None = None
    ) -> None:
        self.tokenizer, self.codebooks, self.latents, self.window = tokenizer, codebooks, latents, window
        codec = tokenizer.codec
        last = tokenizer.continuous.encode_latents if latents else codec.bottleneck.encode
        self._batches = Batches[Block, Tensor](partial(self._run, lambda x: last(codec.encoder(x))), batch)

    @property
    def seconds(self) -> float:
        """Time spent in the network."""
        return self._batches.seconds

    def finish(self) -> None:
        """Encode what still waits for a full batch."""
        self._batches.finish()

    def read(self, source: Source) -> Iterator[Piece]:
        """The windows of a file, which is opened and decoded once."""
        with media.AudioReader(source) as reader:
            yield from self.cut(reader.blocks(READ_SAMPLES), reader.samples, reader.sample_rate)

    def cut(self, blocks: Iterable[Block], samples: int | None, sample_rate: int) -> Iterator[Piece]:
        """The windows of consecutive blocks, as `encode_blocks` takes and refuses them."""
        tokenizer = self.tokenizer
        (stride,), reach = tokenizer.codec.stride, tokenizer._encoder_reach
        counted, size = _Counted(blocks, samples), self.window or tokenizer.window

        def padded() -> int:
            """Samples at the codec's rate, once the samples of the recording are counted."""
            return tokenizer.frames(counted.samples, sample_rate) * stride

        if samples is None:
            signal = resampled(counted, sample_rate, tokenizer.sample_rate, padded, stride)
            yield from _cut_unknown(signal, size, reach or (0, 0), stride)  # without a reach `size` has no bound
        else:
            frames = tokenizer.frames(samples, sample_rate)
            signal = resampled(counted, sample_rate, tokenizer.sample_rate, frames * stride)
            windows = cut(frames, size, reach, fixed=self.window is not None)
            yield from _cut_known(windows, signal, stride)
        for _ in signal:  # to the end, where the number of samples is checked
            pass
        yield AudioExtent(int(sample_rate), counted.samples, counted.channels)

    def add(self, pieces: Iterator[Piece]) -> Callable[[], Tokens | Latents]:
        """Encode the windows of a recording, see `Encoding.add`."""
        found, extents = list[Tensor](), list[AudioExtent]()
        for piece in pieces:
            if isinstance(piece, AudioExtent):
                extents.append(piece)
                continue
            window, x = piece  # all of one shape, so results come in their order

            def receive(values: Tensor, kept: slice = window.kept) -> None:
                found.append(values[:, :, kept])

            self._batches.add(x.shape, x, receive)
        return partial(self._joined, found, extents[0])

    def _joined(self, pieces: Sequence[Tensor], extent: AudioExtent) -> Tokens | Latents:
        tokenizer = self.tokenizer
        if self.latents:
            return Latents(torch.cat(list(pieces), 2), extent, tokenizer.name, tokenizer.fingerprint)
        codes = torch.cat([piece[:, : self.codebooks] for piece in pieces], 2)
        radices = tokenizer.codec.bottleneck.radices[: self.codebooks]
        return Tokens(codes, radices, extent, tokenizer.name, tokenizer.fingerprint)

    @torch.no_grad()
    def _run(self, network: Callable[[Tensor], Tensor], windows: Sequence[Block]) -> list[Tensor]:
        """Windows (C, T) of one shape to the output (S, K, F) of the network for the groups of their channels."""
        x, device = torch.from_numpy(np.stack(windows)), self.tokenizer.device
        x = group_channels(x, self.tokenizer.codec.channels)  # (n, S, c, T)
        with torch.autocast(device.type, enabled=False):
            values = network(x.flatten(0, 1).to(device)).cpu()
        return list(values.unflatten(0, x.shape[:2]))


class _Counted:
    """Blocks, checked and clipped far beyond full scale, that count their samples."""

    def __init__(self, blocks: Iterable[Block], expected: int | None) -> None:
        self._blocks, self._expected = blocks, expected
        self.samples, self.channels = 0, 0

    def __iter__(self) -> Iterator[Block]:
        for block in self._blocks:
            fits = block.ndim == 2 and block.dtype == np.float32 and 0 not in block.shape
            if not fits or self.channels not in (0, len(block)):
                wanted = f"({self.channels}, n)" if self.channels else "(T,) or (C, T), T at least 1,"
                raise InputError(f"expected audio {wanted} float32, got {block.dtype} of shape {block.shape}")
            self.channels = len(block)
            if message := channels_error(self.channels) or finite_error(block, self.samples):
                raise InputError(message)
            self.samples += block.shape[1]
            yield block.clip(-MAX_AMPLITUDE, MAX_AMPLITUDE)
        if self._expected not in (None, self.samples):
            raise InputError(f"expected blocks of {self._expected} samples in all, got {self.samples}")


def _cut_known(windows: Iterable[Window], signal: Iterator[Block], stride: int) -> Iterator[tuple[Window, Block]]:
    """Windows with their samples (C, T), cut from a signal that is read once."""
    held, offset = next(signal), 0  # samples [offset, offset + held.shape[1]) of the signal
    for window in windows:
        begin, end = window.start * stride, window.stop * stride
        parts, have = [held[:, begin - offset :]], held.shape[1] + offset
        while have < end:
            parts.append(next(signal))
            have += parts[-1].shape[1]
        held, offset = parts[0] if len(parts) == 1 else np.concatenate(parts, 1), begin
        yield window, held[:, : end - begin]


def _cut_unknown(
    signal: Iterator[Block], size: int, reach: tuple[int, int], stride: int
) -> Iterator[tuple[Window, Block]]:
    """Windows of `size` frames of a signal whose length only shows at its end; the last is aligned to the end."""
    held = np.empty((0, 0), np.float32)  # the samples from frame `offset` on, where the current window begins
    offset, first, step, done = 0, 0, size - sum(reach), False  # done: whether the current window was yielded
    for block in signal:
        held = np.concatenate([held, block], 1) if held.size else block
        while held.shape[1] > (size + step if done else size) * stride:  # more follows: the window is not the last
            if done:
                held, offset = held[:, step * stride :], offset + step
            else:
                last = offset + size - reach[1]
                yield Window(offset, offset + size, first, last), held[:, : size * stride]
                first = last
            done = not done
    frames = offset + held.shape[1] // stride
    start = max(offset, frames - size)
    yield Window(start, frames, first, frames), held[:, (start - offset) * stride :]


def _check_rate(sample_rate: int) -> None:
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, int | np.integer):
        raise InputError(f"expected the sample rate as a whole number of Hz, got {sample_rate!r}")
    if message := sample_rate_error(int(sample_rate)):
        raise InputError(message)


def _as_block(x: Array) -> Block:
    """Audio (C, T) float32 as an array, after its shape and type are checked."""
    array = as_array(x)
    if array.ndim not in (1, 2):
        raise InputError(f"expected audio (T,) or (C, T), got shape {tuple(array.shape)}")
    if array.dtype.kind != "f":
        raise InputError(f"expected audio as floats with full scale 1, got {array.dtype}; divide int16 by 32768")
    with np.errstate(over="ignore"):  # a float64 too large for float32 becomes infinity, which is refused later
        block: Block = array.astype(np.float32, copy=False)
    return block[None] if block.ndim == 1 else block
