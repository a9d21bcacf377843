"""What tokenizers of all media share: a codec with a name, a fingerprint and frequency tables, and the way to bytes."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from narrows.bitstream import FrequencyTables, IndexedTables, alphabet_sizes, codes_to_symbols, read_header
from narrows.bitstream.header import INDICES_PER_QUALITY
from narrows.codecs.bottlenecks.continuous import Continuous
from narrows.codecs.bottlenecks.entropy.base import EntropyModel
from narrows.codecs.codec import Codec
from narrows.errors import InputError, WrongModel
from narrows.media.extents import Extent
from narrows.media.files import Source, StrPath
from narrows.media.medium import Info, Medium, Reader, Signal
from narrows.parts import spec
from narrows.tokenizers.tokens import Latents, Tokens


@dataclass(frozen=True)
class RateSetting:
    """A setting of `encode` that chooses between rate and quality: its name, its usual values and its default."""

    name: str
    values: tuple[float, ...]
    default: float


class Encoding(ABC):
    """Many signals through the encoder: pieces of equal shape, of whichever signals, share a call of the network.

    Attributes:
        seconds: time spent in the network.
    """

    @property
    @abstractmethod
    def seconds(self) -> float:
        """Time spent in the network."""

    @abstractmethod
    def read(self, source: Source) -> Iterator[Any]:
        """The pieces of a file. No network is used: other threads may read while one encodes.

        Raises MediaError and InputError for a file that cannot be read or encoded.
        """

    @abstractmethod
    def add(self, pieces: Iterator[Any]) -> Callable[[], Tokens | Latents]:
        """Encode the pieces of a signal, now or later. The result can be called after `finish`."""

    @abstractmethod
    def finish(self) -> None:
        """Encode what still waits for a full batch."""


class Tokenizer(ABC):
    """A codec with what its medium needs.

    Signals of any channel count go through a codec of n channels in groups of n, side by side; a mono signal for a
    codec of several channels is repeated.

    Attributes:
        medium: the medium, an entry of the table of media.
        codec: the network, in eval mode.
        name: of the model, stored in tokens and streams.
        tables: frequency tables for entropy coding; None for raw streams of fixed code lengths.
        batch: pieces that share a call of the network.
    """

    kind: ClassVar[str] = "tokenizer"
    medium: ClassVar[Medium]
    batch: int = 1

    def __init__(self, codec: Codec) -> None:
        axes = self.medium.extent.axes
        if len(codec.stride) != axes:
            raise InputError(f"expected a codec of {axes} axes for {self.medium.name}, got one of {len(codec.stride)}")
        self.codec = codec.eval()
        self.name = "custom"
        self.tables: FrequencyTables | None = None
        # versions of the weights, the weights (so that no others get their addresses), and their fingerprint
        self._hashed: tuple[list[tuple[int, int]], list[Tensor], str] | None = None

    @abstractmethod
    def encode(self, *args: Any, **kwargs: Any) -> Tokens:
        """A signal in memory to Tokens."""

    @abstractmethod
    def encode_batch(self, *args: Any, **kwargs: Any) -> list[Tokens]:
        """Several signals in memory, each to its Tokens."""

    @abstractmethod
    def encode_latents(self, *args: Any, **kwargs: Any) -> Latents:
        """A signal in memory to the Latents of a continuous bottleneck."""

    @abstractmethod
    def decode(self, tokens: Tokens) -> Tensor:
        """Tokens to a signal (C, *signal) of the size that was encoded."""

    @abstractmethod
    def decode_latents(self, latents: Latents) -> Tensor:
        """Latents to a signal (C, *signal)."""

    def decode_batch(self, batch: Sequence[Tokens]) -> list[Tensor]:
        """Several Tokens, each to its signal as `decode` gives it, up to float rounding."""
        return [self.decode(tokens) for tokens in batch]

    @property
    @abstractmethod
    def settings(self) -> tuple[str, ...]:
        """The names of the settings that `encode` of this model takes, such as `quality`, `codebooks`, `bitrate`."""

    @property
    def sample_rate(self) -> int | None:
        """Samples per second of audio that the codec works at; None for images."""
        return None

    @property
    @abstractmethod
    def positions_per_amount(self) -> float:
        """Positions of the latent grid of one group per second of audio, or per pixel."""

    @abstractmethod
    def encode_signal(self, signal: Signal, **settings: float | None) -> Tokens:
        """A signal of the medium to Tokens; settings as `encode` takes them."""

    @abstractmethod
    def encode_reader(self, reader: Reader, **settings: float | None) -> Tokens:
        """An open file to Tokens, read and decoded once; settings as `encode` takes them."""

    @abstractmethod
    def decode_signal(self, item: Tokens | Latents) -> Signal:
        """Tokens or Latents to a signal of the medium."""

    @abstractmethod
    def decode_file(self, item: bytes | Tokens | Latents, path: StrPath, *, overwrite: bool = False) -> Extent:
        """An .nrw stream, Tokens or Latents to a media file in the format of its suffix; returns the size.

        Raises MediaError where the file cannot be written, and what `decode` and `decompress` raise.
        """

    @abstractmethod
    def encoding(self, batch: int = 1, latents: bool = False, **settings: float | None) -> Encoding:
        """An Encoding of files.

        Args:
            batch: pieces that share a call of the network.
            latents: to Latents instead of Tokens.
            settings: as `encode` takes them, but for searches (`effort`, `bits_per_pixel`).
        """

    @property
    def rate_setting(self) -> RateSetting:
        """The setting that chooses between rate and quality: the quality, else the number of codebooks."""
        model = self.entropy_model
        if model is not None and model.qualities > 1:
            return RateSetting("quality", tuple(range(1, 9)), 4)
        return RateSetting("codebooks", self.codec.bottleneck.prefixes, self.codebooks)

    def rate(self, codebooks: int | None = None) -> float:
        """The rate of one group with the first `codebooks`, in the unit of the medium: kbit/s, or bits per pixel.

        Estimated from the frequency tables where there are some; else the fixed code lengths of a raw stream. Nominal
        for an entropy model, whose rate depends on the signal.
        """
        bottleneck = self.codec.bottleneck
        if self.tables is None or self.entropy_model is not None:
            bits: float = sum((size - 1).bit_length() for size in bottleneck.codebook_sizes[:codebooks])
        else:
            bits = sum(self.tables.entropies[: len(alphabet_sizes(bottleneck.radices[:codebooks]))])
        return bits * self.positions_per_amount / self.medium.rate_divisor

    def encode_file(self, path: Source, **settings: float | None) -> Tokens:
        """A media file to Tokens; settings as `encode` takes them.

        Raises MediaError where the file cannot be read, and what `encode` raises.
        """
        self.check_settings(settings)
        with self.medium.open(path) as reader:
            return self.encode_reader(reader, **settings)

    def decode_stream(self, data: bytes) -> Signal:
        """An .nrw stream to a signal of the medium. Raises what `decompress` and `decode` raise."""
        return self.decode_signal(self.decompress(data))

    def recover(self, data: bytes) -> tuple[Tokens, list[tuple[float, float]]]:
        """What a damaged .nrw stream still holds, and the damaged spans (from, to) in seconds.

        Raises InputError for a medium whose streams are decoded whole or not at all, which is the default.
        """
        raise InputError(f"expected a damaged stream of audio, got one of {self.name}, which codes {self.medium.files}")

    def losses(self, info: Info) -> list[str]:
        """What of a file this model does not keep, one line each."""
        return list(info.warnings)

    def check_settings(self, settings: Mapping[str, float | None]) -> None:
        """Raise InputError for a setting that is given and that this model does not take."""
        for name, value in settings.items():
            if value is not None and name not in self.settings:
                known = ", ".join(self.settings) or "none"
                raise InputError(f"expected settings of {self.name} ({known}), got {name}={value}; leave it out")
        check_numbers(**settings)

    def to(self, device: torch.device | str) -> Self:
        """Move the codec, and with it all computation, to another device."""
        self.codec.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """The device of the codec's weights, where it computes."""
        return next(self.codec.parameters()).device

    @property
    def codebooks(self) -> int:
        """K, the number of all codebooks; 0 of a continuous bottleneck without rounding."""
        return len(self.codec.bottleneck.codebook_sizes)

    @property
    def entropy_model(self) -> EntropyModel | None:
        """The bottleneck, where it is an entropy model."""
        bottleneck = self.codec.bottleneck
        return bottleneck if isinstance(bottleneck, EntropyModel) else None

    @property
    def qualities(self) -> int:
        """The number of quality indices, 1 where the codec has no choice."""
        return 1 if self.entropy_model is None else self.entropy_model.qualities

    def quality_index(self, quality: float | None) -> int:
        """The index nearest to a quality from 1, the smallest file, to 8, the best image; 4 for None.

        Raises InputError for a quality outside of that, and for a model without qualities.
        """
        if self.qualities == 1:
            if quality is None:
                return 0
            raise InputError(f"expected no quality for {self.name}, which has only one, got {quality:g}; leave it out")
        check_numbers(quality=quality)
        quality = 4 if quality is None else quality
        if not 1 <= quality <= 8:
            raise InputError(f"expected a quality from 1 (smallest file) to 8 (best image), got {quality:g}")
        return round((quality - 1) * INDICES_PER_QUALITY)

    @property
    def continuous(self) -> Continuous:
        """The bottleneck, where it has continuous latents. Raises InputError for another."""
        bottleneck = self.codec.bottleneck
        if not isinstance(bottleneck, Continuous):
            raise InputError(
                f"expected a model with continuous latents, got {self.name} with {type(bottleneck).__name__}; use "
                "encode and decode"
            )
        return bottleneck

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 over the description of the tokenizer and its weights as float32.

        Computed anew where weights were replaced or changed in place since the last time, by an optimizer for example.
        Writing to `weight.data` is not noticed, as by autograd.
        """
        versions = [_version(tensor) for tensor in self._tensors()]
        if self._hashed is None or self._hashed[0] != versions:
            self._hashed = versions, list(map(torch.Tensor.detach, self._tensors())), self._hash()
        return self._hashed[2]

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles contain: all but the cached fingerprint."""
        return self.__dict__ | {"_hashed": None}

    def _tensors(self) -> Iterator[Tensor]:
        yield from self.codec.parameters()
        yield from self.codec.buffers()

    def _hash(self) -> str:
        digest = hashlib.sha256(json.dumps(spec(self), sort_keys=True).encode())
        for name, tensor in sorted(self.codec.state_dict().items()):
            values = tensor.detach().cpu()
            values = values.float() if values.is_floating_point() and values.itemsize < 4 else values
            digest.update(f"{name}{tuple(values.shape)}{values.dtype}".encode())
            digest.update(values.contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    @property
    def coding_tables(self) -> FrequencyTables | IndexedTables | None:
        """What the entropy coder needs: tables, or tables with the model that chooses one per symbol."""
        model = self.entropy_model
        return self.tables if self.tables is None or model is None else IndexedTables(self.tables, model.choose)

    def fit_tables(self, codes: Tensor) -> FrequencyTables:
        """Frequency tables for entropy coding, fitted on codes (N, K, *grid) of training data."""
        radices = self.codec.bottleneck.radices
        return FrequencyTables.fit(codes_to_symbols(codes.cpu().numpy(), radices), alphabet_sizes(radices))

    @torch.no_grad()
    def compress(self, tokens: Tokens) -> bytes:
        """Tokens to an .nrw stream, entropy-coded where the model has tables. Raises WrongModel for foreign tokens."""
        if not isinstance(tokens, Tokens):
            raise InputError(f"expected Tokens, got {type(tokens).__name__}; only codes can be compressed")
        self.check_model(tokens.model, tokens.fingerprint)
        return tokens.compress(self.coding_tables)

    @torch.no_grad()
    def decompress(self, data: bytes) -> Tokens:
        """An .nrw stream to Tokens. Raises WrongModel, and what `Tokens.decompress` raises."""
        header = read_header(data)
        self.check_model(header.model, header.fingerprint.hex())
        return Tokens.decompress(data, self.coding_tables)

    def check_codebooks(self, codebooks: float | None) -> int:
        """The number of codebooks, all of them for None. Raises InputError unless so many can be decoded."""
        prefixes = self.codec.bottleneck.prefixes
        if not prefixes:
            raise InputError(
                f"expected a model with codebooks, got {self.name}, which has continuous latents; use encode_latents"
            )
        check_numbers(codebooks=codebooks)
        number = self.codebooks if codebooks is None else codebooks
        if number not in prefixes:
            raise InputError(f"expected codebooks of {', '.join(map(str, prefixes))} for {self.name}, got {number:g}")
        return int(number)

    def check_model(self, model: str, fingerprint: str) -> None:
        """Raise WrongModel unless this is the model, and these are the weights."""
        if (model, fingerprint) != (self.name, self.fingerprint):
            raise WrongModel(
                f"expected {self.name} ({self.fingerprint}), got what {model} ({fingerprint}) made; load that model"
            )

    def check_item(self, item: Tokens | Latents) -> Extent:
        """The extent of an item. Raises WrongModel or InputError unless it is of this model and medium.

        Codes are checked here to be within their codebooks, once, so that the network need not.
        """
        if not isinstance(item, Tokens | Latents):
            raise InputError(f"expected Tokens or Latents, got {type(item).__name__}; read a stream with decompress")
        self.check_model(item.model, item.fingerprint)
        if not isinstance(item.extent, self.medium.extent):
            raise InputError(f"expected tokens of {self.medium.name}, got tokens of {item.extent.medium}")
        if isinstance(item, Tokens):
            self._check_codebooks_of(item.radices, item.quality_index)
            self.codec.bottleneck.check_codes(item.codes)
        elif item.values.shape[1] != self.continuous.channels or not item.values.isfinite().all():
            wanted = f"{self.continuous.channels} channels of finite numbers"
            raise InputError(f"expected latents of {wanted}, got shape {tuple(item.values.shape)}")
        groups = (item.codes if isinstance(item, Tokens) else item.values).shape[0]
        if groups != self.groups(item.extent.channels):
            raise InputError(
                f"expected {self.groups(item.extent.channels)} groups for {item.extent.channels} channels, got {groups}"
            )
        return item.extent

    def groups(self, channels: int) -> int:
        """The number of groups in which a signal of so many channels is coded."""
        return -(-channels // self.codec.channels)

    def _check_codebooks_of(self, radices: tuple[tuple[int, ...], ...], quality_index: int | None) -> None:
        """Raise InputError unless the first codebooks of this model have these radices, at such a quality."""
        codebooks, model = self.check_codebooks(len(radices)), self.entropy_model
        if radices != self.codec.bottleneck.radices[:codebooks]:
            raise InputError(f"expected codebook sizes of {self.name}, got others; use the model that made the tokens")
        if (quality_index is None) != (model is None) or (model and (quality_index or 0) >= model.qualities):
            wanted = "none" if model is None else f"0 to {model.qualities - 1}"
            raise InputError(f"expected a quality index of {self.name} ({wanted}), got {quality_index}")


def check_numbers(**settings: object) -> None:
    """Raise InputError that names the first setting that is neither a number nor None."""
    for name, value in settings.items():
        if value is not None and not isinstance(value, Real):
            raise InputError(f"expected {name} as a number, got {value!r}")


def _version(tensor: Tensor) -> tuple[int, int]:
    """Differs where another tensor is given, or the same after a change in place."""
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version
