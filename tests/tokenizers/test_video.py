import itertools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from narrows.bitstream import FrequencyTables, StreamHeader, VideoExtent, integer_frequencies
from narrows.codecs import FSQ, Codec, FactorisedDecoder, FactorisedEncoder, Gaussian, SpaceTimeContext
from narrows.errors import DamagedStream, InputError
from narrows.media import video
from narrows.tokenizers.video import VideoTokenizer
from narrows.tokenizers.video_frames import part_of_clip
from narrows.tokenizers.video_tiles import latent_frames, padded
from narrows.tokenizers.video_times import times_attachment, times_of

RATE = Fraction(30_000, 1_001)


def codec(bottleneck: object = None) -> Codec:
    torch.manual_seed(0)
    size = {"widths": (16, 24), "depths": (1, 1)}
    encoder, decoder = FactorisedEncoder(6, **size), FactorisedDecoder(6, **size)  # type: ignore[arg-type]
    return Codec(encoder, bottleneck or FSQ(6, [(8, 8), (5, 5), (4, 4)], dropout=0.5), decoder)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tokenizer() -> VideoTokenizer:
    return VideoTokenizer(codec())


@pytest.fixture(scope="module")
def clip() -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (3, 33, 9, 7), np.uint8)
    return small.repeat(8, 2).repeat(8, 3)[:, :, :70, :51]


def test_every_number_of_frames_and_size_comes_back(tokenizer: VideoTokenizer) -> None:
    rng = np.random.default_rng(1)
    for frames in range(1, 41):
        height, width = rng.integers(1, 20, 2) if frames > 1 else (1, 1)
        x = rng.integers(0, 256, (3, frames, height, width), np.uint8)
        tokens = tokenizer.encode(x, 25)
        assert tokens.codes.shape[2] == latent_frames(frames, 4) == 1 + -(-(frames - 1) // 4)
        assert tokenizer.decode(tokens).shape == x.shape


def test_frames_are_padded_to_whole_latent_frames() -> None:
    for count, stride in itertools.product(range(1, 10), (1, 2, 4)):
        frames = [np.full((1, 1, 1), number) for number in range(count)]
        found = [int(frame[0, 0, 0]) for frame in padded(iter(frames), stride)]
        assert len(found) == stride * latent_frames(count, stride)
        assert found[stride - 1 :][:count] == list(range(count))
        assert set(found[: stride - 1]) <= {0}
        assert set(found[stride - 1 + count :]) <= {count - 1}
    assert list(padded(iter([]), 4)) == []


@pytest.mark.parametrize("attributes", [{"block": 1}, {"block": 3}, {"block": 100}, {"tile": 8}])
def test_blocks_and_tiles_equal_the_whole(
    tokenizer: VideoTokenizer, clip: NDArray[np.uint8], attributes: dict[str, int]
) -> None:
    tokens = tokenizer.encode(clip, RATE)
    whole = tokenizer.decode(tokens)
    other = VideoTokenizer(tokenizer.codec)
    for name, value in attributes.items():
        setattr(other, name, value)
    assert torch.equal(other.encode(clip, RATE).codes, tokens.codes)
    assert torch.allclose(other.decode(tokens), whole, rtol=0, atol=1e-5)


def test_an_image_is_a_clip_of_one_frame(tokenizer: VideoTokenizer, clip: NDArray[np.uint8]) -> None:
    image = tokenizer.encode(clip[:, :1], RATE).codes
    assert torch.equal(image, tokenizer.encode(clip, RATE).codes[:, :, :1])


def test_a_part_equals_these_frames_of_the_whole(tokenizer: VideoTokenizer, clip: NDArray[np.uint8]) -> None:
    tokens = tokenizer.encode(clip, 25)
    whole = tokenizer.decode(tokens)
    for first, last in ((0, 1), (1, 2), (4, 9), (7, 33), (32, 33)):
        part = tokenizer.decode(tokens, first / 25, last / 25)
        assert torch.allclose(part, whole[:, first:last], rtol=0, atol=1e-5)
    for start, stop in ((0.0, 0.0), (0.5, 0.4), (0.0, 9.0), (float("nan"), 1.0)):
        with pytest.raises(InputError, match=r"expected (a part of 0 to 1\.32 s|start and stop in seconds)"):
            tokenizer.decode(tokens, start, stop)


def test_grey_and_floats(tokenizer: VideoTokenizer, clip: NDArray[np.uint8]) -> None:
    grey = tokenizer.encode(clip[:1, :5], 25)
    assert tokenizer.decode(grey).shape == (1, 5, 70, 51)
    floats = tokenizer.encode(torch.from_numpy(clip / 127.5 - 1).float(), 25)
    assert (floats.codes == tokenizer.encode(clip, 25).codes).float().mean() > 0.999  # all but float ties


def test_streams_are_read_back(tokenizer: VideoTokenizer, clip: NDArray[np.uint8]) -> None:
    tokens = tokenizer.encode(clip, RATE, codebooks=2)
    assert tokenizer.decompress(tokenizer.compress(tokens)) == tokens
    assert (tokens.extent.rate, tokens.extent.rate_base) == (30_000, 1_001)  # type: ignore[attr-defined]


def test_files_there_and_back(tokenizer: VideoTokenizer, clip: NDArray[np.uint8], tmp_path: Path) -> None:
    video.write(tmp_path / "clip.mkv", clip.swapaxes(0, 1), 25)
    tokens = tokenizer.encode_file(tmp_path / "clip.mkv")
    assert tokens == tokenizer.encode(clip, 25)
    assert tokenizer.encode_signal(video.read(tmp_path / "clip.mkv")) == tokens
    extent = tokenizer.decode_file(tokens, tmp_path / "out.mkv", start=0.2)
    found = video.read(tmp_path / "out.mkv")
    assert found.extent == extent
    assert np.array_equal(found.pixels, tokenizer.decode_signal(tokens).pixels[:, 5:])


def test_times_of_a_variable_rate_come_back(tokenizer: VideoTokenizer, clip: NDArray[np.uint8], tmp_path: Path) -> None:
    times = [Fraction(number * number, 600) for number in range(33)]
    video.write(tmp_path / "clip.mov", clip.swapaxes(0, 1), times=times)
    stream = tokenizer.compress(tokenizer.encode_file(tmp_path / "clip.mov"))
    assert stream[4] == 3  # the version of the format with times
    tokenizer.decode_file(stream, tmp_path / "out.mov", start=0.0)
    assert video.probe(tmp_path / "out.mov").times == tuple(times)


def test_attached_times() -> None:
    times = (Fraction(0), Fraction(1, 30), Fraction(1, 7))
    data = times_attachment(times)
    assert times_of(data, 3) == times
    for damaged in (data[:-1], data + b"\x01", b"\x00", b"\x01\x00\x00", b""):
        with pytest.raises(DamagedStream):
            times_of(damaged, 3)
    with pytest.raises(DamagedStream):
        times_of(data, 10**12)  # no memory on a header's word
    with pytest.raises(InputError, match=r"common|unit"):
        times_attachment((Fraction(0), Fraction(1, 2**31 - 1), Fraction(1, 3)))


def test_a_damaged_stream_is_recovered(tokenizer: VideoTokenizer, clip: NDArray[np.uint8]) -> None:
    tokens = tokenizer.encode(np.concatenate([clip] * 2, 1), Fraction(1))  # 66 s in chunks of 20 s
    stream = bytearray(tokenizer.compress(tokens))
    stream[-20] ^= 1
    with pytest.raises(DamagedStream):
        tokenizer.decompress(bytes(stream))
    recovered, ((start, stop),) = tokenizer.recover(bytes(stream))
    assert 0 < start < stop <= 66
    assert torch.equal(recovered.codes[:, :, :10], tokens.codes[:, :, :10])
    assert tokenizer.decode(recovered).shape == (3, 66, 70, 51)


def test_latents_of_a_continuous_bottleneck(clip: NDArray[np.uint8]) -> None:
    tokenizer = VideoTokenizer(codec(Gaussian(6, 4)))
    latents = tokenizer.encode_latents(clip, 25)
    assert latents.values.shape == (1, 4, 9, 9, 7)
    assert tokenizer.decode_latents(latents).shape == clip.shape


def test_frames_are_read_one_after_another(tokenizer: VideoTokenizer) -> None:
    made = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        for number in range(50):
            made.append(number)
            yield np.full((3, 9, 9), number, np.uint8)

    latents = tokenizer.tiles.encode(frames(), (2, 2))
    next(latents)
    assert len(made) <= 4 * tokenizer.block + 1


@pytest.mark.parametrize(
    ("x", "rate", "message"),
    [
        (np.zeros((3, 0, 8, 8), np.uint8), 25, r"expected a clip \(1 or 3, T, H, W\), got shape \(3, 0, 8, 8\)"),
        (np.zeros((2, 3, 8, 8), np.uint8), 25, r"expected a clip \(1 or 3, T, H, W\)"),
        (np.zeros((3, 8, 8), np.uint8), 25, r"expected a clip \(1 or 3, T, H, W\)"),
        (np.zeros((3, 2, 8, 8), np.int32), 25, "expected frames of floats in"),
        (np.full((3, 2, 8, 8), np.nan), 25, "expected finite pixels"),
        (np.zeros((3, 2, 8, 8), np.uint8), 0, "expected a frame rate above 0"),
        (np.zeros((3, 2, 8, 8), np.uint8), float("inf"), "expected a finite frame rate"),
        (np.zeros((3, 2, 8, 8), np.uint8), "25", "expected a frame rate as a number"),
    ],
)
def test_wrong_input_is_named(tokenizer: VideoTokenizer, x: object, rate: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer.encode(x, rate)  # type: ignore[arg-type]


def test_frames_of_two_sizes_are_refused(tokenizer: VideoTokenizer) -> None:
    frames = [np.zeros((3, 8, 8), np.uint8), np.zeros((3, 8, 9), np.uint8)]
    with pytest.raises(InputError, match=r"expected frames of one shape \(3, 8, 8\), got \(3, 8, 9\) at frame 1"):
        tokenizer.encode_frames(frames, 25)
    with pytest.raises(InputError, match="at least 1 frame, got 0"):
        tokenizer.encode_frames([], 25)


def test_a_header_that_does_not_fit_is_refused_before_codes_are_decoded(tokenizer: VideoTokenizer) -> None:
    tokens = tokenizer.encode(np.zeros((3, 5, 20, 20), np.uint8), 25)
    cut = replace(tokens, codes=tokens.codes[..., :1])
    with pytest.raises(InputError, match=r"expected a stream of custom, got one of .* with a grid"):
        tokenizer.decompress(cut.compress())
    model = SpaceTimeContext((4, 2), 1, (8, 8), 8)
    random = VideoTokenizer(codec(model).eval())
    tokens = random.encode(np.zeros((3, 5, 20, 20), np.uint8), 25)
    header = StreamHeader(
        "custom", bytes.fromhex(random.fingerprint), tokens.extent, tokens.radices[:5], (2, 2, 4), 2, 1, bytes(4), 24
    )
    with pytest.raises(InputError, match="expected codebooks of 6"):
        random.decompress(header.to_bytes() + bytes(9))
    header = replace(header, radices=tokens.radices, grid=(2, 1, 4))
    with pytest.raises(InputError, match=r"expected a stream of custom, got one of .* with a grid"):
        random.decompress(header.to_bytes() + bytes(9))


def test_a_part_of_a_clip_of_a_variable_rate_follows_its_times() -> None:
    times = [Fraction(time) for time in (0, Fraction(1, 10), Fraction(1, 5), 3, 4)]
    extent = VideoExtent(5, 8, 8, 3, 1, 1)
    assert part_of_clip(extent, 0.2, 3.5, times) == (2, 4)
    assert part_of_clip(extent, 0.1, None, times) == (1, 5)
    with pytest.raises(InputError, match="of at least a frame"):
        part_of_clip(extent, 1, 2, times)


def test_the_stream_of_a_long_clip_is_decoded_chunk_by_chunk(
    tokenizer: VideoTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its codes may be more than those that are read at once."""
    x = np.random.default_rng(0).integers(0, 256, (3, 9, 24, 40), np.uint8)
    tokens = tokenizer.encode(x, 25)
    whole = tokenizer.decode(tokens).numpy()
    for module in ("narrows.tokenizers.tokens", "narrows.bitstream.reader"):
        monkeypatch.setattr(f"{module}.MAX_BYTES_AT_ONCE", 64)
    data = tokenizer.compress(tokens)
    assert np.array_equal(np.concatenate(list(tokenizer.decode_blocks(data)), 1), whole)
    assert tokenizer.decode_file(data, tmp_path / "a.mkv").frames == 9
    with pytest.raises(InputError, match="expected at most 8 codes to be read at once"):
        tokenizer.decompress(data)


def test_a_file_is_compressed_chunk_by_chunk(tmp_path: Path, clip: NDArray[np.uint8]) -> None:
    """To the bytes of its Tokens, over several chunks, at a variable rate, and where a damaged file is recovered."""
    torch.manual_seed(0)
    sizes = {"widths": (8, 8), "depths": (1, 1)}
    model = SpaceTimeContext((4, 4), 1, (8, 8), 8)
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    tokenizer = VideoTokenizer(Codec(FactorisedEncoder(8, **sizes), model, FactorisedDecoder(8, **sizes)))  # type: ignore[arg-type]
    tokenizer.tables = FrequencyTables(tuple(integer_frequencies(np.ones(size)) for size in model.table_sizes))
    frames = [np.ascontiguousarray(clip[:, number % 33, :40, :40]) for number in range(70)]
    times = [Fraction(number * (number + 9), 100) for number in range(70)]
    for name, timing in (("a.mp4", {"rate": 25}), ("b.mp4", {"times": times})):
        video.write(tmp_path / name, frames, **timing)  # type: ignore[arg-type]
        with tokenizer.open(tmp_path / name) as reader:
            coded = tokenizer.compress_reader(reader, quality=3)
        tokens = tokenizer.encode_file(tmp_path / name, quality=3)
        assert (
            coded.data
            == tokenizer.compress(tokens)
            == tokenizer.encode_bytes((tmp_path / name).read_bytes(), quality=3)
        )
        assert coded.attachments == tokens.attachments
        assert coded.extent == tokens.extent
    cut = tmp_path / "cut.mkv"
    video.write(cut, frames, 25)
    cut.write_bytes(cut.read_bytes()[: int(0.9 * cut.stat().st_size)])
    with tokenizer.open(cut, recover=True) as reader:
        coded = tokenizer.compress_reader(reader)
    assert coded.data == tokenizer.compress(tokenizer.encode_file(cut, recover=True))
    assert latent_frames(coded.extent.frames, 4) > 16  # more than a chunk
    tokenizer.tables = None
    with tokenizer.open(tmp_path / "a.mp4") as reader, pytest.raises(InputError, match="expected frequency tables"):
        tokenizer.compress_reader(reader)
