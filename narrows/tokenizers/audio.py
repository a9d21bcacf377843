"""Audio in, tokens out: an audio codec with resampling, channels, exact lengths and windows.

any rate, C channels ─ resample ─ C × (1, T) ─ windows ─ codec ─▶ Tokens ─▶ the same in reverse
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.bitstream import AudioExtent, Tables, read_header, recover, stream_sizes
from narrows.codecs.codec import Codec
from narrows.errors import InputError
from narrows.media import audio as media
from narrows.media.audio_limits import channels_fault, finite_fault, rate_fault
from narrows.tokenizers.batches import Batches
from narrows.tokenizers.resampling import Block, resampled
from narrows.tokenizers.tokenizer import Tokenizer
from narrows.tokenizers.tokens import Tokens
from narrows.tokenizers.windows import Window, cut

LOUDEST = 1e6  # full scale is 1; what is louder is clipped, so that no square of it is infinite
Signal = Tensor | NDArray[np.floating]


class AudioTokenizer(Tokenizer):
    """A codec for mono audio at `sample_rate` Hz, made to take recordings of any rate, channel count and length.

    Channels are coded one by one. Long recordings are cut into windows of `window_seconds` at most, whose results are
    those of the whole, so memory does not grow with length; `batch` windows run at once. A codec with attention
    sees all of a recording, and takes it whole. tables: for entropy coding.
    fingerprint: 16 hexadecimal digits that tell these weights from others; of the weights unless given.
    """

    def __init__(
        self,
        codec: Codec,
        sample_rate: int,
        name: str = "custom",
        fingerprint: str | None = None,
        tables: Tables | None = None,
        window_seconds: float = 10.0,
        batch: int = 1,
    ) -> None:
        _check_rate(sample_rate)
        codec.check_axes(1)
        super().__init__(codec, name, fingerprint, tables)
        self.sample_rate, self.batch = sample_rate, batch
        reach, window = codec.reach, round(window_seconds * self.frame_rate)
        self.window = sys.maxsize if reach is None else max(window, 4 * reach)  # frames

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.codec.stride

    def bitrate(self, codebooks: int | None = None) -> float:
        """Bits a second of one channel with the first `codebooks`.

        Estimated from the frequency tables where there are some; the fixed lengths of a raw stream else.
        """
        bottleneck = self.codec.bottleneck
        radices = bottleneck.radices[:codebooks]
        if self.tables is None:
            return sum((size - 1).bit_length() for size in bottleneck.codebook_sizes[:codebooks]) * self.frame_rate
        return sum(self.tables.entropies[: len(stream_sizes(radices))]) * self.frame_rate

    def codebooks_for(self, bitrate: float) -> int:
        """The largest meaningful number of codebooks whose `bitrate` is at most so many bits a second.

        Raises InputError when not even the smallest fits; the message names the rates there are.
        """
        fitting = [k for k in self.codec.bottleneck.prefixes if self.bitrate(k) <= bitrate]
        if not fitting:
            rates = ", ".join(f"{self.bitrate(k) / 1000:.2f}" for k in self.codec.bottleneck.prefixes)
            raise InputError(f"{bitrate / 1000:g} kbit/s given; {self.name} offers {rates}")
        return max(fitting)

    def encode(self, x: Signal, sample_rate: int, codebooks: int | None = None) -> Tokens:
        """Audio (T,) or (C, T) of any floating type, full scale ±1, at `sample_rate` Hz, to Tokens.

        codebooks: how many of the K to keep; all of them unless given.
        Raises InputError for a wrong shape, rate or number of codebooks and for samples that are not finite.
        """
        block = _as_block(x)
        return self.encode_blocks([block], block.shape[1], sample_rate, codebooks)

    def encode_batch(self, signals: Sequence[Signal], sample_rate: int, codebooks: int | None = None) -> list[Tokens]:
        """Each of several signals of different lengths to its Tokens, as `encode` gives them up to float ties.

        Windows of one shape, of whichever signals, go through the network `batch` at a time.
        """
        books, batches = self.check_codebooks(codebooks), self.batches()
        window = self.window if self.batch > 1 else None
        blocks = [_as_block(x) for x in signals]
        found = [self.feed(batches, self.cut([x], x.shape[1], sample_rate, window)) for x in blocks]
        batches.finish()
        return [self.joined(codes, x.shape[1], sample_rate, books) for codes, x in zip(found, blocks, strict=True)]

    def encode_file(self, path: str | Path, codebooks: int | None = None) -> Tokens:
        """A sound file to Tokens; the file is read block by block. Raises MediaError when it cannot be read."""
        info = media.probe(path)
        return self.encode_blocks(media.blocks(path), info.samples, info.sample_rate, codebooks)

    def encode_blocks(
        self, blocks: Iterable[Block], samples: int, sample_rate: int, codebooks: int | None = None
    ) -> Tokens:
        """Blocks (C, n), float32, that make up `samples` samples at `sample_rate` Hz to Tokens, in bounded memory.

        Raises InputError for blocks of other shapes or types, samples that are not finite, and fewer or more of them.
        """
        books, batches = self.check_codebooks(codebooks), self.batches()
        codes = self.feed(batches, self.cut(blocks, samples, sample_rate))
        batches.finish()
        return self.joined(codes, samples, sample_rate, books)

    def narrow(self, x: Signal, sample_rate: int) -> Tensor:
        """Audio, as `encode` takes it, to real numbers (C, channels, F) of a continuous bottleneck: what a diffusion
        model learns.

        Nothing is rounded. Raises InputError for another bottleneck, and as `encode`.
        """
        block, batches = _as_block(x), self.batches(real=True)
        pieces = self.feed(batches, self.cut([block], block.shape[1], sample_rate))
        batches.finish()
        return torch.cat(pieces, 2)

    def cut(
        self, blocks: Iterable[Block], samples: int, sample_rate: int, window: int | None = None
    ) -> Iterator[tuple[Window, Block]]:
        """Blocks, as `encode_blocks` takes and refuses them, to the windows that the network sees, with their samples.

        window: of just so many frames, more than twice the encoder's reach, unless as equal as they can be and of at
        most `window_seconds`. No network is used: another thread can cut while one encodes.
        """
        frames, stride = self._frames(samples, sample_rate), self.codec.stride
        signal = resampled(_checked(blocks, samples), sample_rate, self.sample_rate, frames * stride)
        windows = cut(frames, window or self.window, self.codec.encoder.reach, fixed=window is not None)
        yield from _cut_out(windows, signal, stride)
        for _ in signal:  # to the end, where the number of samples is checked
            pass

    def batches(self, size: int | None = None, real: bool = False) -> Batches[Block, Tensor]:
        """Takes windows (C, T) of any signals, and runs `size` of one shape at once, `batch` unless given.

        Results are codes (C, K, F), or the real numbers (C, channels, F) of a continuous bottleneck.
        """
        encoder, last = self.codec.encoder, self.continuous.encode_latents if real else self.codec.bottleneck.encode
        return Batches(partial(self._encoded, lambda x: last(encoder(x))), size or self.batch)

    def feed(self, batches: Batches[Block, Tensor], windows: Iterable[tuple[Window, Block]]) -> list[Tensor]:
        """Give the windows of a signal to batches. The list holds their results, in pieces, once those finish."""
        found = list[Tensor]()
        for window, x in windows:  # all of one shape, so results come in their order

            def take(values: Tensor, kept: slice = window.kept) -> None:
                found.append(values[:, :, kept])

            batches.add(x.shape, x, take)
        return found

    def joined(self, pieces: Sequence[Tensor], samples: int, sample_rate: int, books: int) -> Tokens:
        """Codes (C, K, F) of a recording in pieces, as `feed` finds them, to Tokens of the first `books`."""
        codes = torch.cat([piece[:, :books] for piece in pieces], 2)
        extent, radices = AudioExtent(int(sample_rate), samples, len(codes)), self.codec.bottleneck.radices
        return Tokens(codes, radices[: codes.shape[1]], extent, self.name, self.fingerprint)

    @torch.inference_mode()
    def _encoded(self, network: Callable[[Tensor], Tensor], windows: Sequence[Block]) -> list[Tensor]:
        """Windows (C, T) of one shape to what the network makes of each channel (1, 1, T): (C, K, F)."""
        x = torch.from_numpy(np.stack(windows))
        with torch.autocast(self.device.type, enabled=False):
            values = network(x.flatten(0, 1).unsqueeze(1).to(self.device)).cpu()
        return list(values.unflatten(0, x.shape[:2]))

    def decode(self, tokens: Tokens) -> Tensor:
        """Tokens to audio (C, T) float32 at the rate and of the length that the recording had.

        Raises WrongModel for tokens of another model, InputError for codes that do not fit their extent.
        """
        return torch.from_numpy(np.concatenate(list(self.decode_blocks(tokens)), 1))

    def decode_blocks(self, tokens: Tokens) -> Iterator[Block]:
        """Tokens to blocks (C, n) of the recording, one after another, in bounded memory."""
        self.check_model(tokens.model, tokens.fingerprint)
        extent, frames = self.extent(tokens), tokens.codes.shape[2]
        self.check_codebooks(tokens.codes.shape[1])
        if frames != self._frames(extent.samples, extent.sample_rate):
            raise InputError(
                f"{frames} frames given for {extent.samples} samples at {extent.sample_rate} Hz, which they do not fit"
            )
        return resampled(
            self._decoded(self.codec.decode, tokens.codes), self.sample_rate, extent.sample_rate, extent.samples
        )

    def widen(self, y: Tensor, samples: int, sample_rate: int) -> Tensor:
        """Real numbers (C, channels, F), as `narrow` gives them, to audio (C, samples) at `sample_rate` Hz."""
        return torch.from_numpy(np.concatenate(list(self.widen_blocks(y, samples, sample_rate)), 1))

    def widen_blocks(self, y: Tensor, samples: int, sample_rate: int) -> Iterator[Block]:
        """As `widen`, to blocks (C, n) of the recording, one after another."""
        bottleneck, decoder = self.continuous, self.codec.decoder
        wanted = (bottleneck.channels, self._frames(samples, sample_rate))
        if y.ndim != 3 or tuple(y.shape[1:]) != wanted or channels_fault(len(y)):
            raise InputError(
                f"numbers of shape {tuple(y.shape)} given for {samples} samples at {sample_rate} Hz, "
                f"(channels of the recording, {wanted[0]}, {wanted[1]}) wanted"
            )
        signal = self._decoded(lambda piece: decoder(bottleneck.decode_latents(piece)), y)
        return resampled(signal, self.sample_rate, sample_rate, samples)

    @torch.inference_mode()
    def _decoded(self, network: Callable[[Tensor], Tensor], values: Tensor) -> Iterator[Block]:
        """What the network makes of values (C, k, F), window by window."""
        windows, stride = iter(cut(values.shape[2], self.window, self.codec.decoder.reach)), self.codec.stride
        while group := list(islice(windows, self.batch)):
            pieces = torch.cat([values[:, :, window.start : window.stop] for window in group])  # (n C, k, frames)
            with torch.autocast(self.device.type, enabled=False):
                x = network(pieces.to(self.device)).float().cpu().numpy()  # (n C, 1, samples of a window)
            for window, piece in zip(group, np.split(x[:, 0], len(group)), strict=True):
                yield piece[:, window.kept.start * stride : window.kept.stop * stride]

    def _frames(self, samples: int, sample_rate: int) -> int:
        """How many frames a recording takes: as many as hold it at the codec's own rate."""
        _check_rate(sample_rate)
        if samples < 1:
            raise InputError("a signal of 0 samples given, at least 1 wanted")
        ours = -(-samples * self.sample_rate // sample_rate)  # samples at the codec's rate, rounded up
        return -(-ours // self.codec.stride)

    def extent(self, tokens: Tokens) -> AudioExtent:
        """How long the recording is. Raises InputError for tokens of another medium."""
        if not isinstance(tokens.extent, AudioExtent):
            raise InputError(f"tokens of {tokens.extent.medium} given, those of audio wanted")
        return tokens.extent

    def lost(self, sample_rate: int, channels: int) -> str | None:
        """What this model cannot keep of a recording of that rate and channel count, in words; None when nothing."""
        said = []
        if sample_rate > self.sample_rate:
            said.append(f"{self.name} keeps what is below {self.sample_rate / 2000:g} kHz, of {sample_rate / 2000:g}")
        if channels > 1:
            said.append(f"its {channels} channels are coded one by one, so their phases to each other may shift")
        return "; ".join(said) or None

    def recover(self, data: bytes) -> tuple[Tokens, list[tuple[float, float]]]:
        """What a damaged .nrw stream still holds, silence where chunks are lost, and from when to when in seconds.

        Raises what `decompress` raises for header, model and tables, and DamagedStream where nothing is left.
        """
        header = read_header(data)
        self.check_model(header.model, header.fingerprint.hex())
        found = recover(data, self.tables)
        extent = header.extent
        if not isinstance(extent, AudioExtent):
            raise InputError(f"a stream of {extent.medium} given, one of audio wanted")
        codes = torch.from_numpy(found.codes)
        frames = 2 * (self.codec.encoder.reach or 0) + 1
        silence = self.encode(torch.zeros(frames * self.codec.stride), self.sample_rate).codes[0, :, frames // 2]
        spans = []
        for lost in found.damaged:
            codes[:, :, lost.start : lost.stop] = silence[: codes.shape[1], None]
            spans.append((lost.start / self.frame_rate, min(lost.stop / self.frame_rate, extent.seconds)))
        return Tokens(codes, header.radices, extent, header.model, header.fingerprint.hex()), spans


def _cut_out(windows: Iterable[Window], signal: Iterator[Block], stride: int) -> Iterator[tuple[Window, Block]]:
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


def _check_rate(sample_rate: int) -> None:
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, int | np.integer):
        raise InputError(f"a sample rate of {sample_rate!r} given, a whole number of Hz wanted")
    if fault := rate_fault(int(sample_rate)):
        raise InputError(f"the signal has {fault}")


def _as_block(x: Signal) -> Block:
    array = x.detach() if isinstance(x, Tensor) else np.asarray(x)
    if not (array.is_floating_point() if isinstance(array, Tensor) else array.dtype.kind == "f"):
        raise InputError(
            f"audio of type {array.dtype} given, floats with full scale 1 wanted; divide 16-bit samples by 32768"
        )
    block: Block = array.float().cpu().numpy() if isinstance(array, Tensor) else array.astype(np.float32, copy=False)
    return block[None] if block.ndim == 1 else block


def _checked(blocks: Iterable[Block], samples: int) -> Iterator[Block]:
    """The blocks as they are, clipped far beyond full scale, until one is not fit."""
    position, channels = 0, None
    for block in blocks:
        if block.ndim != 2 or block.dtype != np.float32 or channels not in (None, len(block)) or 0 in block.shape:
            wanted = "(T,) or (C, T), T at least 1" if channels is None else f"({channels}, n)"
            raise InputError(f"audio of shape {block.shape} and type {block.dtype} given, float32 {wanted} wanted")
        channels = len(block)
        if fault := channels_fault(channels) or finite_fault(block, position):
            raise InputError(f"the signal has {fault}")
        position += block.shape[1]
        yield block.clip(-LOUDEST, LOUDEST)
    if position != samples:
        raise InputError(f"blocks of {position} samples in all given, {samples} were announced")
