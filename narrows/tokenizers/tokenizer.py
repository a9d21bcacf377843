"""Base class of tokenizers: a codec as a `Model`, with its media, settings and .nrw streams."""

import io
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self, Unpack

import torch
from torch import Tensor

from narrows.bitstream import (
    FrequencyTables,
    PredictedTables,
    StreamHeader,
    alphabet_sizes,
    read_header,
)
from narrows.bitstream.header import INDICES_PER_QUALITY
from narrows.codecs.bottlenecks.continuous import Continuous
from narrows.codecs.codec import Codec
from narrows.errors import InputError, shortened
from narrows.media.buffers import Bytes
from narrows.media.extents import Extent
from narrows.media.files import Source
from narrows.media.image.resize import Resize
from narrows.media.medium import Info, Medium, Reader, Signal
from narrows.media.targets import Target
from narrows.tokenizers.batches import BatchEncoder
from narrows.tokenizers.devices import check_device, runs_on
from narrows.tokenizers.model import Model
from narrows.tokenizers.settings import Compressed, DecodeOptions, Output, Progress, RateSetting, check_numbers
from narrows.tokenizers.tokens import Latents, Tokens

Item = Bytes | Tokens | Latents  # an .nrw stream, or what encoding returns


class Tokenizer(Model):
    """Encodes signals of a medium, of any size and channel count, to Tokens, and decodes them.

    A codec of n channels codes a signal in groups of n channels. If n is above 1, a mono signal is repeated.

    Args:
        codec: the codec. It is not copied, and put into eval mode: call `codec.train()` to go on training it.

    Attributes:
        medium: the medium, an entry of the table of media.
        attachments: names of the attachments of Tokens that it decodes.
        needed: those without which it cannot decode Tokens. Data sets and new ids of a language model have none.
        open_options: names of the options of `open` and `encode_file` that this medium takes.
        decode_options: names of the options that `decode_file` and `decode_bytes` take for this medium.
        codec: the codec.
        name, tables, folder, origin, base: see `Model`.
        batch: number of pieces per call of the network.
    """

    kind: ClassVar[str] = "tokenizer"
    codec: Codec
    medium: ClassVar[Medium]
    attachments: ClassVar[tuple[str, ...]] = ()
    needed: ClassVar[tuple[str, ...]] = ()
    open_options: ClassVar[tuple[str, ...]] = ()
    decode_options: ClassVar[tuple[str, ...]] = ()
    batch: int = 1

    def __init__(self, codec: Codec) -> None:
        axes = self.medium.extent.axes
        if len(codec.stride) != axes:
            raise InputError(f"expected a codec of {axes} axes for {self.medium.name}, got one of {len(codec.stride)}")
        super().__init__(codec)

    def __repr__(self) -> str:
        """Model, medium, rates and parameters, on one line."""
        parameters = sum(weights.numel() for weights in self.codec.parameters())
        rate = f" at {self.sample_rate} Hz" if self.sample_rate else ""
        name = type(self).__name__
        return f"<{name} {self.name!r}: {self.medium.name}{rate}, {self._rates()}, {_count(parameters)} parameters>"

    def _rates(self) -> str:
        """The range of rates, for people."""
        choice, unit = self.rate_setting, self.medium.rate_unit
        if choice.name == "quality":
            return f"quality {choice.values[0]:g} to {choice.values[-1]:g}"
        if not choice.values:
            return "continuous latents"
        if self.entropy_model is not None:
            return "one quality"
        rates = sorted({f"{self.rate(int(k)):.3g}" for k in (choice.values[0], choice.values[-1])}, key=float)
        return f"{' to '.join(rates)} {unit}"

    @abstractmethod
    def encode(self, *args: Any, **kwargs: Any) -> Tokens:
        """Encode a signal to Tokens."""

    @abstractmethod
    def encode_batch(self, *args: Any, **kwargs: Any) -> list[Tokens]:
        """Encode signals in batches; returns the Tokens of each signal."""

    @abstractmethod
    def encode_latents(self, *args: Any, **kwargs: Any) -> Latents:
        """Encode a signal to the Latents of a continuous bottleneck."""

    @abstractmethod
    def decode(self, tokens: Tokens) -> Tensor:
        """Decode Tokens to a signal (C, *signal) of the size that was encoded."""

    @abstractmethod
    def decode_latents(self, latents: Latents) -> Tensor:
        """Decode Latents to a signal (C, *signal)."""

    def decode_batch(self, batch: Sequence[Tokens]) -> list[Tensor]:
        """Decode a list of Tokens; returns the signal of each, equal to that of `decode` up to rounding errors."""
        return [self.decode(tokens) for tokens in batch]

    @property
    @abstractmethod
    def settings(self) -> tuple[str, ...]:
        """Names of the settings that `encode` of this model accepts, such as `quality`, `codebooks`, `bitrate`."""

    @property
    def sample_rate(self) -> int | None:
        """Sample rate of the codec in Hz; None for images."""
        return None

    @property
    @abstractmethod
    def positions_per_amount(self) -> float:
        """Latent positions of one channel group per second of audio, or per pixel."""

    @abstractmethod
    def estimate(self, *args: Any, **kwargs: Any) -> int:
        """An estimate of the bytes of a stream, before coding and without running the network."""

    def _refuse_for_estimate(self, settings: Mapping[str, float | None]) -> None:
        """Raise InputError for a setting that `estimate` does not take."""
        for name, value in settings.items():
            if value is not None:
                raise InputError(f"expected no {name} for an estimate, got {shortened(value)}; leave it out")

    @abstractmethod
    def encode_signal(self, signal: Signal, **settings: float | None) -> Tokens:
        """Encode a Signal, such as an Audio, Image or Video, to Tokens; settings as for `encode`."""

    @abstractmethod
    def encode_reader(self, reader: Reader, **settings: float | None) -> Tokens:
        """Encode an open file to Tokens; the file is read once. Settings as for `encode`."""

    @abstractmethod
    def decode_signal(self, item: Item) -> Signal:
        """Decode an .nrw stream, Tokens or Latents to a Signal: an Audio, an Image with its alpha plane, or a Video."""

    def decode_file(
        self,
        item: Item,
        target: Target,
        *,
        format: str | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
        **options: Unpack[DecodeOptions],
    ) -> Extent:
        """Decode an .nrw stream, Tokens or Latents to a media file; returns its extent.

        Args:
            item: the stream, Tokens or Latents.
            target: the path of the output, whose suffix selects the format; or a binary file object, which is written
                to once all is decoded and encoded, from its position on.
            format: the format as a suffix without the dot ("wav", "png"); needed for a file object.
            overwrite: whether an existing file may be replaced.
            progress: audio, video: called with the fraction that is decoded, up to 1.
            options: those of the medium; see DecodeOptions.

        Raises:
            MediaError: if the file cannot be written.
            InputError: for an unknown suffix or format, and an option of another medium or out of range; and what
                `decode` and `decompress` raise.
        """
        self.medium.check_target(target, format)  # fails before the work of decoding
        self.check_options(options)
        return self._decode_to(Output(target, format, overwrite, progress), item, options)

    def decode_bytes(self, item: Item, format: str | None = None, **options: Unpack[DecodeOptions]) -> bytes:
        """Decode an .nrw stream, Tokens or Latents to the bytes of a media file; see `decode_file`.

        Args:
            item: the stream, Tokens or Latents.
            format: the format as a suffix without the dot; None for "wav", "png" or "mp4".
            options: those of the medium; see DecodeOptions.
        """
        file = io.BytesIO()
        format = self.medium.default_suffix.removeprefix(".") if format is None else format
        self.decode_file(item, file, format=format, **options)
        return file.getvalue()

    @abstractmethod
    def _decode_to(self, output: Output, item: Item, options: DecodeOptions) -> Extent:
        """Decode an item to a file, whose format and options are checked."""

    def check_options(self, options: DecodeOptions) -> None:
        """Raise InputError for an option of decoding that this medium does not have."""
        for name, value in options.items():
            if name not in DecodeOptions.__annotations__ or (value is not None and name not in self.decode_options):
                accepted = ", ".join(self.decode_options)
                raise InputError(
                    f"expected options of {self.medium.name} ({accepted}), got {name}={shortened(value)}; leave it out"
                )

    @abstractmethod
    def batch_encoder(
        self,
        batch: int = 1,
        latents: bool = False,
        background: str | None = None,
        resize: Resize | None = None,
        **settings: float | None,
    ) -> BatchEncoder:
        """An encoder for many files.

        Args:
            batch: number of pieces per call of the network.
            latents: whether to make Latents instead of Tokens.
            background: colour that transparent images are flattened onto; without it they raise MediaError.
            resize: makes images of one size; None to keep their sizes.
            settings: settings of `encode`, except those that search (`effort`, `bits_per_pixel`).
        """

    @property
    def rate_setting(self) -> RateSetting:
        """The setting that trades rate for quality: `quality` if the model has qualities, otherwise `codebooks`."""
        model = self.entropy_model
        if model is not None and model.qualities > 1:
            return RateSetting("quality", tuple(range(1, 9)), 4)
        return RateSetting("codebooks", self.codec.bottleneck.prefixes, self.codebooks)

    def rate(self, codebooks: int | None = None) -> float:
        """The rate of one channel group with the first `codebooks` codebooks, in kbit/s or bits per pixel.

        Estimated from the frequency tables if the tokenizer has some. Otherwise, and for an entropy model, whose rate
        depends on the signal, the rate of a raw stream.
        """
        bottleneck = self.codec.bottleneck
        if self.tables is None or self.entropy_model is not None:
            bits: float = sum((size - 1).bit_length() for size in bottleneck.codebook_sizes[:codebooks])
        elif isinstance(self.tables, PredictedTables):
            bits = sum(self.tables.code_bits[:codebooks])
        else:
            bits = sum(self.tables.entropies[: len(alphabet_sizes(bottleneck.radices[:codebooks]))])
        return bits * self.positions_per_amount / self.medium.rate_divisor

    def open(
        self,
        source: Source,
        background: str | None = None,
        *,
        sound: bool | None = None,
        recover: bool | None = None,
    ) -> Reader:
        """Open a media file for `encode_reader`; arguments and errors as of `encode_file`."""
        self.check_background(background)
        self.check_only_video(sound=sound, recover=recover)
        return self.medium.open(source)

    def encode_file(
        self,
        source: Source,
        *,
        background: str | None = None,
        sound: bool | None = None,
        recover: bool | None = None,
        **settings: float | None,
    ) -> Tokens:
        """Encode a media file to Tokens.

        Args:
            source: the path or bytes of a file, or a binary file object, which is read from its position to its end.
            background: images: colour that a transparent image is flattened onto, as a name of CSS or like "#rrggbb";
                None to attach its alpha plane to the Tokens.
            sound: video: False to leave the sound track out.
            recover: video: True to encode what comes before the damage of a damaged file.
            settings: as for `encode`.

        Raises:
            MediaError: if the file cannot be read.
            InputError: as `encode` raises it, and for a background that is no colour, or an option of another medium.
        """
        self.check_settings(settings)
        with self.open(source, background, sound=sound, recover=recover) as reader:
            return self.encode_reader(reader, **settings)

    def encode_bytes(
        self,
        data: Bytes,
        *,
        background: str | None = None,
        sound: bool | None = None,
        recover: bool | None = None,
        **settings: float | None,
    ) -> bytes:
        """Encode the bytes of a media file to an .nrw stream; arguments and errors as of `encode_file`.

        A path is refused, so that a text from a user of a service opens no file.
        """
        if not isinstance(data, Bytes):
            advice = "use tobytes()" if hasattr(data, "tobytes") else "use encode_file for files"
            raise InputError(f"expected the bytes of a media file, got {type(data).__name__}; {advice}")
        self.check_settings(settings)
        with self.open(data, background, sound=sound, recover=recover) as reader:
            return self.compress_reader(reader, **settings).data

    def compress_reader(self, reader: Reader, **settings: float | None) -> Compressed:
        """Encode an open file to an .nrw stream: what `encode_reader` and `compress` give, in the memory of the result.

        Arguments and errors as of these two.
        """
        tokens = self.encode_reader(reader, **settings)
        return Compressed(self.compress(tokens), tokens.extent, tokens.attachments)

    def check_only_video(self, **options: object) -> None:
        """Raise InputError for an option of video that is given, where the model codes another medium."""
        for name, value in options.items():
            if value is not None:
                raise InputError(f"expected video for {name}, got {self.medium.name} for {self.name}; leave it out")

    def check_background(self, background: str | None) -> None:
        """Raise InputError for a background that is no colour, or of a model that does not code images."""
        if background is not None:
            raise InputError(f"expected images for a background, got {self.medium.name} for {self.name}; leave it out")

    def check_resize(self, resize: Resize | None) -> None:
        """Raise InputError for a size of images where the model does not code images."""
        if resize is not None:
            raise InputError(f"expected images for a size, got {self.medium.name} for {self.name}; leave it out")

    def recover(self, data: Bytes) -> tuple[Tokens, list[tuple[float, float]]]:
        """Recover a damaged .nrw stream: the Tokens that are intact, and the damaged spans (start, end).

        The spans are in seconds of audio and video, or in rows of an image.

        Raises InputError for a medium whose damaged streams cannot be recovered, which is the default.
        """
        raise InputError(
            f"expected a medium whose damaged streams can be recovered, got {self.medium.files} of {self.name}"
        )

    def warnings(self, info: Info, attachments: Mapping[str, bytes] = MappingProxyType({})) -> list[str]:
        """Warnings about properties of a file that this model does not preserve, one line per warning.

        Args:
            info: the properties of the file.
            attachments: of what it was encoded to; video: for warnings about its sound.
        """
        return list(info.warnings)

    def check_settings(self, settings: Mapping[str, float | None]) -> dict[str, float]:
        """The settings that are not None. Raises InputError for one that this model does not accept."""
        given = {name: value for name, value in settings.items() if value is not None}
        for name, value in given.items():
            if name not in self.settings:
                accepted = ", ".join(self.settings) or "none"
                raise InputError(
                    f"expected settings of {self.name} ({accepted}), got {name}={shortened(value)}; leave it out"
                )
        check_numbers(**given)
        return given

    def to(self, device: torch.device | str) -> Self:
        """Move the codec, and with it all computation, to another device.

        Raises InputError for a device that is not available or lacks operations of the codec, which then stays.
        """
        check_device(device)
        if torch.device(device).type not in ("cpu", "cuda") and not self.runs_on(device):
            raise InputError(
                f"expected a device with all operations of {self.name}, got {shortened(str(device))}, which lacks "
                "some, such as those of float64; use cpu or auto"
            )
        self.codec.to(device)
        return self

    def runs_on(self, device: torch.device | str) -> bool:
        """Whether the codec encodes and decodes a small signal on a device. MPS, for example, has no float64."""
        return runs_on(self.codec, device)

    @property
    def codebooks(self) -> int:
        """K, the number of codebooks; 0 for a continuous bottleneck."""
        return len(self.codec.bottleneck.codebook_sizes)

    @property
    def qualities(self) -> int:
        """Number of quality indices; 1 for a codec with a single quality."""
        return 1 if self.entropy_model is None else self.entropy_model.qualities

    def quality_index(self, quality: float | None) -> int:
        """The quality index nearest to a quality, from 1 (smallest file) to 8 (best image); None for 4.

        Raises InputError for another quality, and for any quality if the model has only one.
        """
        if self.qualities == 1:
            if quality is None:
                return 0
            raise InputError(
                f"expected no quality for {self.name}, which has only one, got {shortened(quality)}; leave it out"
            )
        check_numbers(quality=quality)
        quality = 4 if quality is None else quality
        if not 1 <= quality <= 8:
            raise InputError(f"expected a quality from 1 (smallest file) to 8 (best image), got {shortened(quality)}")
        return round((quality - 1) * INDICES_PER_QUALITY)

    @property
    def continuous(self) -> Continuous:
        """The bottleneck if it has continuous latents. Raises InputError otherwise."""
        bottleneck = self.codec.bottleneck
        if not isinstance(bottleneck, Continuous):
            raise InputError(
                f"expected a model with continuous latents, got {self.name} with {type(bottleneck).__name__}; use "
                "encode and decode"
            )
        return bottleneck

    @property
    def bit_costs(self) -> Tensor | None:
        """Bits per symbol of each table, for rate-distortion-optimised rounding; None without tables."""
        if not isinstance(self.tables, FrequencyTables):
            return None
        return torch.from_numpy(self.tables.bit_costs).to(self.device)

    @torch.inference_mode()
    def compress(self, tokens: Tokens) -> bytes:
        """Compress Tokens to an .nrw stream, with entropy coding if there are tables.

        Raises WrongModel for tokens of another model, InputError for other objects, and if required tables are missing.
        """
        if not isinstance(tokens, Tokens):
            raise InputError(f"expected Tokens, got {type(tokens).__name__}; only codes can be compressed")
        self._check_tables()
        self.check_model(tokens.model, tokens.fingerprint)
        self.check_attachments(tokens.attachments)
        return tokens.compress(self.coding_tables)

    def _check_tables(self) -> None:
        """Raise InputError for an entropy model without tables."""
        if self.entropy_model is not None and self.tables is None:
            raise InputError(
                f"expected frequency tables for {self.name}, got none; leave out --raw (set tables in Python)"
            )

    @torch.no_grad()
    def decompress(self, data: Bytes) -> Tokens:
        """Read the Tokens of an .nrw stream.

        Raises WrongModel, InputError for a header that does not fit this model, and what `Tokens.decompress` raises.
        """
        self._header(data)
        return Tokens.decompress(data, self.coding_tables)

    def _header(self, data: Bytes) -> StreamHeader:
        """Read the header of a stream and check it against this model before codes are decoded."""
        header = read_header(data)
        self.check_model(header.model, header.fingerprint.hex())
        self.check_attachments(dict(header.attachments))
        self._check_codebooks_of(header.radices, header.quality_index)
        return header

    def check_codebooks(self, codebooks: float | None) -> int:
        """The number of codebooks; None for all. Raises InputError if this number cannot be decoded."""
        prefixes = self.codec.bottleneck.prefixes
        if not prefixes:
            raise InputError(
                f"expected a model with codebooks, got {self.name}, which has continuous latents; use encode_latents"
            )
        check_numbers(codebooks=codebooks)
        number = self.codebooks if codebooks is None else codebooks
        if number not in prefixes:
            raise InputError(
                f"expected codebooks of {', '.join(map(str, prefixes))} for {self.name}, got {shortened(number)}"
            )
        return int(number)

    def check_attachments(self, names: Iterable[str]) -> None:
        """Raise InputError for attachments that this tokenizer does not decode: they would be lost."""
        other = ", ".join(name for name in names if name not in self.attachments)
        if other:
            expected = f"only the attachment {', '.join(self.attachments)}" if self.attachments else "no attachment"
            raise InputError(f"expected {expected} for {self.name}, got {other}; remove it from the Tokens")

    def check_item(self, item: Tokens | Latents) -> Extent:
        """Check that an item can be decoded by this model, and return its extent. Raises WrongModel or InputError.

        This includes the range of the codes, which the networks do not check.
        """
        if not isinstance(item, Tokens | Latents):
            raise InputError(f"expected Tokens or Latents, got {type(item).__name__}; read a stream with decompress")
        self.check_model(item.model, item.fingerprint)
        if not isinstance(item.extent, self.medium.extent):
            raise InputError(f"expected tokens of {self.medium.name}, got tokens of {item.extent.medium}")
        if isinstance(item, Tokens):
            self.check_attachments(item.attachments)
            self._check_codebooks_of(item.radices, item.quality_index)
            self.codec.bottleneck.check_codes(item.codes)
        elif item.values.shape[1] != self.continuous.channels or not item.values.isfinite().all():
            expected = f"{self.continuous.channels} channels of finite numbers"
            raise InputError(f"expected latents of {expected}, got shape {tuple(item.values.shape)}")
        groups = (item.codes if isinstance(item, Tokens) else item.values).shape[0]
        if groups != self.groups(item.extent.channels):
            raise InputError(
                f"expected {self.groups(item.extent.channels)} groups for {item.extent.channels} channels, got {groups}"
            )
        return item.extent

    def groups(self, channels: int) -> int:
        """Number of channel groups of a signal with `channels` channels."""
        return -(-channels // self.codec.channels)

    def _check_codebooks_of(self, radices: tuple[tuple[int, ...], ...], quality_index: int | None) -> None:
        """Raise InputError unless the radices and quality index are possible for this model."""
        codebooks, model = self.check_codebooks(len(radices)), self.entropy_model
        if radices != self.codec.bottleneck.radices[:codebooks]:
            raise InputError(
                f"expected codebook sizes of {self.name}, got other sizes; use the model that made the tokens"
            )
        if (quality_index is None) != (model is None) or (model and (quality_index or 0) >= model.qualities):
            expected = "none" if model is None else f"0 to {model.qualities - 1}"
            raise InputError(f"expected a quality index of {self.name} ({expected}), got {shortened(quality_index)}")


def _count(number: int) -> str:
    """A number of parameters for people: "5.9 M"."""
    for scale, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= scale:
            return f"{number / scale:.3g}{unit}"
    return str(number)
