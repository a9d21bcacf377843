"""One contract for the tokenizers of all media: encode, decode, files, batches, streams, latents, settings, spec."""

import copy
import io
import pickle
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from narrows.bitstream import FrequencyTables, read_header
from narrows.bitstream.frequency_tables import integer_frequencies
from narrows.checkpoints import folder
from narrows.codecs import (
    FSQ,
    Codec,
    ConvDecoder,
    ConvEncoder,
    EnCodecDecoder,
    EnCodecEncoder,
    FactorisedDecoder,
    FactorisedEncoder,
    FrameDecoder,
    FrameEncoder,
    Gaussian,
    SpaceTimeContext,
    Tanh,
    VectorQuantizePytorch,
)
from narrows.errors import InputError, MediaError, NarrowsError, StreamError, WrongModel
from narrows.media.audio import Audio
from narrows.media.image import Image
from narrows.media.medium import Signal
from narrows.media.table import MEDIA
from narrows.media.video import Video
from narrows.parts import build, names, spec
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.audio_segments import SegmentedAudioTokenizer
from narrows.tokenizers.image import ImageTokenizer
from narrows.tokenizers.tokenizer import Tokenizer
from narrows.tokenizers.tokens import Latents, Tokens
from narrows.tokenizers.video import VideoTokenizer

RATE, FRAME_RATE = 16_000, Fraction(25)


def audio(bottleneck: object, channels: int = 1) -> AudioTokenizer:
    encoder = FrameEncoder(8, 16, 1, channels=channels)
    return AudioTokenizer(Codec(encoder, bottleneck, FrameDecoder(8, 16, 1, channels=channels)), RATE)  # type: ignore[arg-type]


def segments(bottleneck: object) -> SegmentedAudioTokenizer:
    encoder, decoder = (
        network(8, 2, (8, 5, 4), False, True, channels=2) for network in (EnCodecEncoder, EnCodecDecoder)
    )
    return SegmentedAudioTokenizer(Codec(encoder, bottleneck, decoder), RATE, 1600, 1520)  # type: ignore[arg-type]


def images(bottleneck: object) -> ImageTokenizer:
    return ImageTokenizer(Codec(ConvEncoder(8, 8), bottleneck, ConvDecoder(8, 8)))  # type: ignore[arg-type]


def videos(bottleneck: object, dim: int = 8) -> VideoTokenizer:
    sizes = {"widths": (8, 8), "depths": (1, 1)}
    encoder, decoder = FactorisedEncoder(dim, **sizes), FactorisedDecoder(dim, **sizes)  # type: ignore[arg-type]
    return VideoTokenizer(Codec(encoder, bottleneck, decoder))  # type: ignore[arg-type]


def videos_with_entropy_model() -> VideoTokenizer:
    tokenizer = videos(SpaceTimeContext((4, 4), 1, (8, 8), 8))
    with torch.no_grad():
        for parameter in tokenizer.codec.bottleneck.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        tokenizer.codec.bottleneck.root_gain.copy_(torch.linspace(0.1, 9, 8)[:, None].expand(8, 8))  # type: ignore[operator]
    sizes = tokenizer.codec.bottleneck.table_sizes
    tokenizer.tables = FrequencyTables(tuple(integer_frequencies(np.ones(size)) for size in sizes))
    return tokenizer


PACKAGE = (("num_quantizers", 3), ("codebook_size", 16), ("quantize_dropout", True))
WITH_CODES: dict[str, Callable[[], Tokenizer]] = {
    "audio": lambda: audio(FSQ(8, (4, 4), groups=3, dropout=0.2)),
    "stereo audio": lambda: audio(FSQ(8, (4, 4), groups=3, dropout=0.2), 2),
    "stereo audio, segments": lambda: segments(FSQ(8, (4, 4), groups=3, dropout=0.2)),
    "audio, package": lambda: audio(VectorQuantizePytorch(8, "ResidualVQ", PACKAGE)),
    "image": lambda: images(FSQ(8, (4, 4), groups=3, dropout=0.2)),
    "image, package": lambda: images(VectorQuantizePytorch(8, "ResidualVQ", PACKAGE)),
    "image, entropy model": lambda: images(FSQ(8, (4, 4))),  # replaced below by a checkpoint
    "video": lambda: videos(FSQ(8, (4, 4), groups=3, dropout=0.2)),
    "video, entropy model": videos_with_entropy_model,
}
CONTINUOUS: dict[str, Callable[[], Tokenizer]] = {
    "audio": lambda: audio(Tanh(8, 3)),
    "stereo audio": lambda: audio(Tanh(8, 3), 2),
    "image": lambda: images(Gaussian(8, 3)),
    "video": lambda: videos(Gaussian(8, 3)),
}


def named(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.name = "small"
    return tokenizer


@pytest.fixture(params=list(WITH_CODES))
def tokenizer(request: pytest.FixtureRequest, image_checkpoint: Path) -> Tokenizer:
    if request.param == "image, entropy model":
        return folder.read(image_checkpoint)
    torch.manual_seed(0)
    return named(WITH_CODES[request.param]())


@pytest.fixture(params=list(CONTINUOUS))
def continuous(request: pytest.FixtureRequest) -> Tokenizer:
    torch.manual_seed(0)
    return named(CONTINUOUS[request.param]())


def signals(tokenizer: Tokenizer) -> list[Signal]:
    """Signals of different sizes and channel counts, not multiples of the strides."""
    rng = np.random.default_rng(0)
    if tokenizer.medium.name == "audio":
        sizes = [(1, 7001), (2, 3210), (3, 1)]
        return [Audio((0.1 * rng.standard_normal(size)).astype(np.float32), RATE) for size in sizes]
    if tokenizer.medium.name == "video":
        clips = [rng.integers(0, 256, size, np.uint8) for size in [(3, 6, 24, 40), (3, 1, 17, 16), (3, 2, 1, 1)]]
        return [Video(clip, FRAME_RATE) for clip in clips]
    return [Image(rng.integers(0, 256, size, np.uint8)) for size in [(3, 45, 70), (1, 17, 16), (3, 1, 1)]]


def in_memory(tokenizer: Tokenizer, signal: Signal) -> tuple[Any, ...]:
    """The positional arguments of `encode` for a signal."""
    return (signal.array, *rate_of(tokenizer))


def rate_of(tokenizer: Tokenizer) -> tuple[Any, ...]:
    """The rate that `encode` and `encode_batch` take after the signals."""
    return {"audio": (RATE,), "video": (FRAME_RATE,), "image": ()}[tokenizer.medium.name]


def as_written(tokenizer: Tokenizer, signal: Signal, path: Path) -> Path:
    path = path.with_suffix(".mkv" if signal.medium == "video" else tokenizer.medium.default_suffix)  # lossless
    MEDIA[signal.medium].write(path, signal, True)
    return path


def test_every_registered_tokenizer_is_here(tokenizer: Tokenizer) -> None:
    assert names("tokenizer") == ["audio-tokenizer", "image-tokenizer", "segmented-audio-tokenizer", "video-tokenizer"]
    assert tokenizer.medium is MEDIA[tokenizer.medium.name]


def test_signals_are_decoded_at_their_size(tokenizer: Tokenizer) -> None:
    for signal in signals(tokenizer):
        tokens = tokenizer.encode(*in_memory(tokenizer, signal))
        groups = -(-len(signal.array) // tokenizer.codec.channels)
        assert tokens.codes.shape[:2] == (groups, len(tokens.radices))
        assert tokens.extent == signal.extent
        decoded = tokenizer.decode(tokens)
        assert tuple(decoded.shape) == signal.array.shape
        restored = tokenizer.decode_signal(tokens)
        assert (restored.extent, restored.array.dtype) == (signal.extent, signal.array.dtype)


def test_all_ways_to_encode_give_the_same_tokens(tokenizer: Tokenizer, tmp_path: Path) -> None:
    for index, signal in enumerate(signals(tokenizer)):
        if isinstance(signal, Audio):  # a lossless file of 16 bits
            signal = signal.with_array((signal.array * 2**15).round() / np.float32(2**15))
        path = as_written(tokenizer, signal, tmp_path / f"{index}")
        tokens = tokenizer.encode(*in_memory(tokenizer, signal))
        assert same(tokenizer.encode_signal(signal), tokens)
        assert same(tokenizer.encode_file(path), tokens)
        with tokenizer.medium.open(path) as reader:
            assert same(tokenizer.encode_reader(reader), tokens)
        with tokenizer.medium.open(path) as reader:
            compressed = tokenizer.compress_reader(reader)
        assert compressed.data == tokenizer.compress(tokenizer.encode_file(path))
        assert (compressed.extent, dict(compressed.attachments)) == (tokens.extent, dict(tokens.attachments))
        encoding = tokenizer.batch_encoder()
        result = encoding.add(encoding.read(path))
        encoding.finish()
        found = result()
        assert isinstance(found, Tokens)
        assert same(found, tokens)


def test_results_can_be_used_in_training(tokenizer: Tokenizer) -> None:
    """They are no inference tensors, which autograd refuses to save."""
    tokens = tokenizer.encode_signal(signals(tokenizer)[0])
    embedding = torch.nn.Embedding(1 << 13, 4)
    embedding(tokens.codes.long().clamp(0, (1 << 13) - 1)).sum().backward()
    assert embedding.weight.grad is not None
    assert not tokens.codes.is_inference()
    assert not tokenizer.decompress(tokenizer.compress(tokens)).codes.is_inference()
    for decoded in (tokenizer.decode(tokens), *tokenizer.decode_batch([tokens])):
        assert not decoded.is_inference()
        assert not decoded.requires_grad


def same(first: Tokens, second: Tokens) -> bool:
    facts = [(x.extent, x.model, x.fingerprint, x.quality_index, x.radices) for x in (first, second)]
    return facts[0] == facts[1] and torch.equal(first.codes, second.codes)


def test_batches_give_what_single_signals_give(tokenizer: Tokenizer) -> None:
    tokenizer.batch = 4
    given = signals(tokenizer) * 2
    arguments: tuple[Any, ...] = ([x.array for x in given],)
    batch = tokenizer.encode_batch(*arguments, *rate_of(tokenizer))
    assert all(same(a, tokenizer.encode(*in_memory(tokenizer, b))) for a, b in zip(batch, given, strict=True))
    for decoded, tokens in zip(tokenizer.decode_batch(batch), batch, strict=True):
        torch.testing.assert_close(decoded, tokenizer.decode(tokens), atol=1e-4, rtol=0)


def test_streams_hold_the_tokens(tokenizer: Tokenizer) -> None:
    for signal in signals(tokenizer):
        tokens = tokenizer.encode_signal(signal)
        data = tokenizer.compress(tokens)
        assert same(tokenizer.decompress(data), tokens)
        assert np.array_equal(tokenizer.decode_signal(data).array, tokenizer.decode_signal(tokens).array)
        with pytest.raises(StreamError):
            tokenizer.decompress(data[:-1])


def test_files_are_written_whole_and_never_replaced_unasked(tokenizer: Tokenizer, tmp_path: Path) -> None:
    signal = signals(tokenizer)[0]
    tokens, path = tokenizer.encode_signal(signal), tmp_path / f"out{tokenizer.medium.default_suffix}"
    assert tokenizer.decode_file(tokens, path) == signal.extent
    before = path.read_bytes()
    with pytest.raises(MediaError):
        tokenizer.decode_file(tokens, path)
    assert path.read_bytes() == before
    assert tokenizer.decode_file(tokenizer.compress(tokens), path, overwrite=True) == signal.extent
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    assert tokenizer.medium.read(path).extent == signal.extent


def test_foreign_and_wrong_tokens_are_refused(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode_signal(signals(tokenizer)[0])
    other = images(FSQ(8, (5, 5))) if tokenizer.medium.name == "audio" else audio(FSQ(8, (5, 5)))
    foreign = other.encode_signal(signals(other)[0])
    for use in (tokenizer.decode, tokenizer.compress, tokenizer.decode_signal):
        for wrong in (foreign, replace(tokens, fingerprint="0" * 16), replace(tokens, model="else")):
            with pytest.raises(WrongModel):
                use(wrong)
    too_large = tokens.codes.clone()
    too_large[0, 0, 0] = 1 << 14
    with pytest.raises(InputError, match="expected codes 0 to"):
        tokenizer.decode(replace(tokens, codes=too_large))


def test_settings_are_those_that_are_named(tokenizer: Tokenizer) -> None:
    signal = signals(tokenizer)[0]
    values: dict[str, float] = {"codebooks": 1, "quality": 2, "bitrate": 1, "bits_per_pixel": 3.0, "effort": 1}
    for name, value in values.items():
        if name in tokenizer.settings:
            assert tokenizer.encode(*in_memory(tokenizer, signal), **{name: value}).codes.shape[0]
        else:
            with pytest.raises(InputError):
                tokenizer.encode_signal(signal, **{name: value})
    setting = tokenizer.rate_setting
    assert setting.default in setting.values
    if len(setting.values) > 1:
        assert setting.name in tokenizer.settings
        sizes = [
            len(tokenizer.compress(tokenizer.encode_signal(signal, **{setting.name: value})))
            for value in (setting.values[0], setting.values[-1])
        ]
        assert sizes[0] < sizes[1]
    assert tokenizer.rate() > 0


def test_a_tokenizer_survives_its_description_and_a_folder(tokenizer: Tokenizer, tmp_path: Path) -> None:
    again = build(spec(tokenizer))
    assert type(again) is type(tokenizer)
    assert spec(again) == spec(tokenizer)
    folder.save(tmp_path / tokenizer.name, tokenizer)
    read = folder.read(tmp_path / tokenizer.name)
    assert (read.name, read.fingerprint) == (tokenizer.name, tokenizer.fingerprint)
    tokens = tokenizer.encode_signal(signals(tokenizer)[0])
    assert torch.equal(read.decode(tokens), tokenizer.decode(tokens))


def test_codes_are_not_latents(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="expected a model with continuous latents"):
        tokenizer.encode_latents(*in_memory(tokenizer, signals(tokenizer)[0]))


def test_latents_are_decoded_at_the_size_of_the_signal(continuous: Tokenizer, tmp_path: Path) -> None:
    for signal in signals(continuous):
        latents = continuous.encode_latents(*in_memory(continuous, signal))
        assert isinstance(latents, Latents)
        assert latents.extent == signal.extent
        decoded: Tensor = continuous.decode_latents(latents)
        assert not latents.values.is_inference()
        assert not decoded.is_inference()
        assert tuple(decoded.shape) == signal.array.shape
        assert continuous.decode_signal(latents).extent == signal.extent
        path = tmp_path / f"out{continuous.medium.default_suffix}"
        assert continuous.decode_file(latents, path, overwrite=True) == signal.extent
        with pytest.raises(InputError, match="latents of"):
            continuous.decode_latents(replace(latents, values=latents.values * torch.nan))
        with pytest.raises(WrongModel):
            continuous.decode_latents(replace(latents, fingerprint="0" * 16))
        with pytest.raises(InputError, match="continuous latents"):
            continuous.encode(*in_memory(continuous, signal))


def test_signals_that_are_not_finite_or_of_another_shape_are_refused(tokenizer: Tokenizer) -> None:
    signal = signals(tokenizer)[0]
    array = signal.array
    _, *more = in_memory(tokenizer, signal)
    wrong = [array[:, None], array[0, 0], array[:0], np.array(["a"]), array.astype(np.complex64)]
    if tokenizer.medium.name == "audio":
        wrong += [np.full_like(array, np.nan), np.full_like(array, np.inf)]
    else:
        wrong += [array.astype(np.float64) * np.nan, array[:2]]
    for x in wrong:
        with pytest.raises(InputError) as caught:
            tokenizer.encode(x, *more)
        assert "\n" not in str(caught.value)


def test_the_fingerprint_follows_the_weights(tokenizer: Tokenizer) -> None:
    """However they change: in place, as an optimizer does, by a state dict, or by a cast there and back."""
    signal, made = signals(tokenizer)[0], set[str]()
    for change in (
        lambda weight: None,
        lambda weight: weight.add_(0.125),
        lambda weight: tokenizer.codec.load_state_dict({k: v * 1.5 for k, v in tokenizer.codec.state_dict().items()}),
        lambda weight: tokenizer.codec.bfloat16().float(),
    ):
        with torch.no_grad():
            change(next(tokenizer.codec.encoder.parameters()))
        assert tokenizer.fingerprint not in made
        made.add(tokenizer.fingerprint)
        tokens = tokenizer.encode_signal(signal)
        assert tokens.fingerprint == tokenizer.fingerprint == copy.deepcopy(tokenizer).fingerprint
        assert tokenizer.decompress(tokenizer.compress(tokens)) == tokens
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.fingerprint == tokenizer.fingerprint
    assert len(pickle.dumps(again)) == len(pickle.dumps(pickle.loads(pickle.dumps(again))))


def test_parts_in_seconds_are_for_audio_and_video(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokens, path = tokenizer.encode_signal(signals(tokenizer)[0]), tmp_path / f"a{tokenizer.medium.default_suffix}"
    if tokenizer.medium.name == "audio":
        assert tokenizer.decode_file(tokens, path, start=0.1, stop=0.2).amount == pytest.approx(0.1)
    elif tokenizer.medium.name == "video":
        assert tokenizer.decode_file(tokens, path, start=0.04, stop=0.12).seconds == pytest.approx(0.08)
    else:
        with pytest.raises(InputError, match=r"expected options of image .background., got stop=0.2; leave it out"):
            tokenizer.decode_file(tokens, path, stop=0.2)
        assert not path.exists()


def test_options_of_decoding_are_those_of_the_medium(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode_signal(signals(tokenizer)[0])
    for options in ({"background": "white"}, {"start": 0.1}, {"strat": None}):
        if set(options) <= set(tokenizer.decode_options):
            continue
        with pytest.raises(InputError, match=r"expected options of (audio|image|video) \(.*\), got .*; leave it out"):
            tokenizer.decode_bytes(tokens, **options)  # type: ignore[arg-type]


def test_files_in_memory(tokenizer: Tokenizer, tmp_path: Path) -> None:
    for index, signal in enumerate(signals(tokenizer)):
        path = as_written(tokenizer, signal, tmp_path / f"{index}")
        tokens, suffix = tokenizer.encode_file(path), tokenizer.medium.default_suffix
        data = tokenizer.compress(tokens)
        for form in (bytes, bytearray, memoryview):
            given = tokenizer.encode_bytes(form(path.read_bytes()))
            assert same(tokenizer.decompress(given), tokens)
        with path.open("rb") as file:
            assert same(tokenizer.encode_file(file), tokens)
        assert same(tokenizer.encode_file(io.BytesIO(path.read_bytes())), tokens)
        tokenizer.decode_file(data, tmp_path / f"decoded{suffix}", overwrite=True)
        expected = (tmp_path / f"decoded{suffix}").read_bytes()
        assert tokenizer.decode_bytes(data) == tokenizer.decode_bytes(tokens, suffix[1:]) == expected
        out = io.BytesIO()
        assert tokenizer.decode_file(data, out, format=suffix[1:]) == signal.extent
        assert out.getvalue() == expected


def test_files_in_memory_that_cannot_be_used(tokenizer: Tokenizer) -> None:
    data = tokenizer.compress(tokenizer.encode_signal(signals(tokenizer)[0]))
    for given in ("a.wav", Path("a.wav"), io.BytesIO(b"RIFF"), None):
        with pytest.raises(InputError, match=r"expected the bytes of a media file, got .*; use encode_file for files"):
            tokenizer.encode_bytes(given)  # type: ignore[arg-type]
    for wrong in (b"", b"no medium at all" * 99, data):
        with pytest.raises(MediaError, match="'the given bytes'"):
            tokenizer.encode_bytes(wrong)
    for wrong in (b"", data[:10], data[:-5], b"RIFF" * 99):
        with pytest.raises(StreamError):
            tokenizer.decode_bytes(wrong)
    out = io.BytesIO(b"as before")
    with pytest.raises(InputError, match=r"expected one of the formats .*, got 'xyz'"):
        tokenizer.decode_bytes(data, format="xyz")
    with pytest.raises(InputError, match="expected a format"):
        tokenizer.decode_file(data, out)
    with pytest.raises(StreamError):
        tokenizer.decode_file(data[:-5], out, format=tokenizer.medium.default_suffix[1:])
    with pytest.raises(InputError, match=r"expected the bytes of an .nrw stream, got BytesIO"):
        tokenizer.decode_bytes(out)  # type: ignore[arg-type]
    assert out.getvalue() == b"as before"


def test_tokenizers_show_themselves(tokenizer: Tokenizer, continuous: Tokenizer) -> None:
    for each in (tokenizer, continuous):
        shown = repr(each)
        assert shown.startswith(f"<{type(each).__name__} {each.name!r}: {each.medium.name}")
        assert shown.endswith(" parameters>")
        assert "\n" not in shown
        assert len(shown) < 120


def test_attachments_that_would_be_lost_are_refused(tokenizer: Tokenizer) -> None:
    if tokenizer.rate_setting.values == ():
        return  # continuous latents, which have no attachments
    plain = tokenizer.encode(*in_memory(tokenizer, signals(tokenizer)[0]))
    name = "alpha" if tokenizer.medium.name == "video" else "audio"
    extra = replace(plain, attachments={name: b"sound"})
    data = extra.compress(tokenizer.coding_tables)
    for act, given in (
        (tokenizer.compress, extra),
        (tokenizer.decode, extra),
        (tokenizer.decode_signal, extra),
        (tokenizer.decompress, data),
        (tokenizer.decode_signal, data),
        (tokenizer.recover, data),
    ):
        with pytest.raises(InputError, match=rf"expected (no|only the) attachments? .*got {name}"):
            act(given)


def test_devices_that_lack_something_are_refused(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    for device in ("meta", "cuda:99", "abacus", "mps:7", None):
        with pytest.raises(InputError, match="expected an available device, got") as caught:
            tokenizer.to(device)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300
    monkeypatch.setattr("narrows.tokenizers.tokenizer.check_device", lambda device: None)
    with pytest.raises(InputError, match="expected a device with all operations of small, got 'meta'"):
        tokenizer.to("meta")
    assert tokenizer.device.type == "cpu"
    assert tokenizer.to("cpu") is tokenizer


def test_the_codec_is_put_into_eval_mode(tokenizer: Tokenizer) -> None:
    codec = tokenizer.codec.train()
    again = type(tokenizer)(codec, RATE) if isinstance(tokenizer, AudioTokenizer) else type(tokenizer)(codec)  # type: ignore[call-arg]
    assert again.codec is codec
    assert not any(module.training for module in codec.modules())


def test_an_outer_autocast_changes_nothing(tokenizer: Tokenizer) -> None:
    signal = signals(tokenizer)[0]
    tokens = tokenizer.encode_signal(signal)
    data, decoded = tokenizer.compress(tokens), tokenizer.decode(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        assert tokenizer.encode_signal(signal) == tokens
        assert tokenizer.encode_batch([signal.array], *in_memory(tokenizer, signal)[1:])[0] == tokens
        assert tokenizer.compress(tokens) == data
        assert tokenizer.decompress(data) == tokens
        assert torch.equal(tokenizer.decode(tokens), decoded)
        assert torch.equal(tokenizer.decode_batch([tokens])[0], decoded)


def test_an_outer_autocast_changes_no_latents(continuous: Tokenizer) -> None:
    signal = signals(continuous)[0]
    latents = continuous.encode_latents(*in_memory(continuous, signal))
    decoded = continuous.decode_latents(latents)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(continuous.encode_latents(*in_memory(continuous, signal)).values, latents.values)
        assert torch.equal(continuous.decode_latents(latents), decoded)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(tokenizer: Tokenizer, dtype: torch.dtype) -> None:
    signal = signals(tokenizer)[0]
    codes, before = tokenizer.encode_signal(signal).codes, tokenizer.fingerprint
    tokenizer.codec.to(dtype)
    tokens = tokenizer.encode_signal(signal)
    assert (tokens.codes == codes).float().mean() > 0.8
    assert tokenizer.decompress(tokenizer.compress(tokens)) == tokens
    decoded = tokenizer.decode(tokens)
    assert decoded.dtype == torch.float32
    assert decoded.isfinite().all()
    assert tokenizer.decode_signal(tokens).array.shape == decoded.shape
    if dtype == torch.float64:  # the same weights
        assert tokenizer.fingerprint == before
        assert torch.equal(tokens.codes, codes)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_latents_of_other_dtypes_are_float32(continuous: Tokenizer, dtype: torch.dtype) -> None:
    signal = signals(continuous)[0]
    values = continuous.encode_latents(*in_memory(continuous, signal)).values
    continuous.codec.to(dtype)
    latents = continuous.encode_latents(*in_memory(continuous, signal))
    assert latents.values.dtype == torch.float32
    torch.testing.assert_close(latents.values, values, atol=0.1, rtol=0.1)
    assert continuous.decode_latents(latents).dtype == torch.float32


def test_streams_are_any_bytes_and_nothing_else(tokenizer: Tokenizer, tmp_path: Path) -> None:
    data = tokenizer.compress(tokenizer.encode_signal(signals(tokenizer)[0]))
    path = tmp_path / f"out{tokenizer.medium.default_suffix}"
    for form in (bytes, bytearray, memoryview):
        tokenizer.decode_file(form(data), path, overwrite=True)
        assert tokenizer.decompress(form(data)) == tokenizer.decompress(data)
    for wrong in ("talk.nrw", None, 3):
        with pytest.raises(InputError, match=r"expected the bytes of an .nrw stream"):
            tokenizer.decode_file(wrong, path, overwrite=True)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="expected Tokens or Latents"):
            tokenizer.decode(wrong)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="expected Tokens"):
            tokenizer.compress(wrong)  # type: ignore[arg-type]


def test_settings_of_other_media_may_be_none(tokenizer: Tokenizer) -> None:
    every: dict[str, float | None] = dict.fromkeys(("bitrate", "codebooks", "quality", "bits_per_pixel", "effort"))
    signal = signals(tokenizer)[0]
    assert tokenizer.encode_signal(signal, **every) == tokenizer.encode_signal(signal)
    assert isinstance(tokenizer.encode_bytes(tokenizer.decode_bytes(tokenizer.encode_signal(signal)), **every), bytes)
    assert tokenizer.batch_encoder(**every)  # type: ignore[arg-type]


def test_settings_that_are_no_numbers_are_refused(tokenizer: Tokenizer) -> None:
    for name in tokenizer.settings:
        with pytest.raises(InputError, match="expected"):
            tokenizer.encode_signal(signals(tokenizer)[0], **{name: "a"})  # type: ignore[arg-type]
        with pytest.raises(InputError, match="expected"):
            tokenizer.encode(*in_memory(tokenizer, signals(tokenizer)[0]), **{name: "a"})


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(1, 16, 16, device="meta"),
        torch.zeros(1, 16, 16).to_sparse(),
        [[0.0], [1.0, 2.0]],
        None,
        "x.wav",
        np.zeros((1, 16), np.complex64),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_is_no_signal_is_refused(tokenizer: Tokenizer, x: object) -> None:
    with pytest.raises(InputError, match="expected"):
        tokenizer.encode(x, *in_memory(tokenizer, signals(tokenizer)[0])[1:])


def test_messages_hold_no_whole_arguments(tokenizer: Tokenizer) -> None:
    wav, signal = b"RIFF" * 10**6, signals(tokenizer)[0]
    data = tokenizer.compress(tokenizer.encode_signal(signal))
    huge = ("9" * 90_000, wav, 10**5000, [wav] * 9)
    calls = [
        *(partial(tokenizer.encode_signal, signal, **{name: x}) for name in tokenizer.settings for x in huge),
        *(partial(tokenizer.decode_bytes, data, **{name: x}) for name in tokenizer.decode_options for x in huge),
        *(partial(tokenizer.decode_bytes, data, x) for x in huge),
        *(partial(tokenizer.encode_bytes, x) for x in huge),
        *(partial(tokenizer.estimate, x) for x in huge),
        *(partial(tokenizer.encode, signal.array[:1], x) for x in huge if tokenizer.medium.name == "audio"),
        *(partial(tokenizer.to, x) for x in huge[:1]),
        *(partial(tokenizer.encode_signal, signal, bogus=x) for x in huge),
        *(partial(tokenizer.decode_bytes, data, bogus=x) for x in huge),
        partial(tokenizer.decompress, wav),
        partial(tokenizer.decode, wav),
    ]
    for call in calls:
        tracemalloc.start()
        with pytest.raises(NarrowsError) as caught:
            call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(str(caught.value)) < 500
        assert peak < 64 << 20


def test_bytes_are_of_one_kind(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Media and streams: bytes and memoryviews of any shape; neither arrays nor what is closed."""
    media = as_written(tokenizer, signals(tokenizer)[0], tmp_path / "a").read_bytes()
    stream = tokenizer.encode_bytes(media)
    for data, call in ((media, tokenizer.encode_bytes), (stream, tokenizer.decode_bytes), (stream, read_header)):
        twice = np.frombuffer(data, np.uint8).repeat(2)
        assert call(memoryview(twice)[::2]) == call(data)
        released, closed = memoryview(data), mmap(-1, len(data))
        released.release()
        closed.close()
        for wrong in (released, closed, np.frombuffer(data, np.uint8), "RIFF", None):
            with pytest.raises(
                InputError, match=r"expected the bytes of (a media file|an \.nrw stream), got"
            ) as caught:
                call(wrong)
            assert "\n" not in str(caught.value)


def test_estimates_take_settings_of_size_only(tokenizer: Tokenizer) -> None:
    amount: Any = 1 if tokenizer.medium.name == "audio" else signals(tokenizer)[0].array
    for name in ("effort", "bits_per_pixel", "bogus"):
        with pytest.raises(InputError, match=f"expected no {name} for an estimate, got 1; leave it out"):
            tokenizer.estimate(amount, **{name: 1})
