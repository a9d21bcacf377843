import hashlib
import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from narrows.bitstream import FrequencyTables, ImageExtent, read_header
from narrows.checkpoints import folder
from narrows.checkpoints.load import load
from narrows.codecs import (
    BSQ,
    FSQ,
    IBQ,
    LFQ,
    VQ,
    AttentionProjection,
    Bottleneck,
    Codec,
    ConvDecoder,
    ConvEncoder,
    FrameDecoder,
    FrameEncoder,
    Gaussian,
    LappedDecoder,
    LappedEncoder,
    LDMDecoder,
    LDMEncoder,
    LearnedCodebook,
    MultiCodebook,
    ResidualVQ,
    Rounding,
    SoftNorm,
    SpaceChannelContext,
    Tanh,
)
from narrows.errors import DamagedStream, InputError, StreamError, WrongModel
from narrows.media.image import Image, read, write
from narrows.recipes.data.images import ImageFiles
from narrows.recipes.data.synthetic import write_synthetic_images
from narrows.recipes.training.fit_tables import fit_entropy_model_tables
from narrows.tokenizers.image import ImageTokenizer


def made(codec: Codec, tables: FrequencyTables | None = None, **attributes: object) -> ImageTokenizer:
    tokenizer = ImageTokenizer(codec)
    tokenizer.tables = tables
    for name, value in attributes.items():
        setattr(tokenizer, name, value)
    return tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ImageTokenizer:
    torch.manual_seed(0)
    data = tmp_path_factory.mktemp("pictures") / "made"
    write_synthetic_images(data)
    codec = Codec(
        LappedEncoder(8, 6, 2, 1), SpaceChannelContext((3, 5), 1, (8, 8)), LappedDecoder(8, 6, 2, 2, 1)
    ).eval()
    return made(codec, fit_entropy_model_tables(made(codec), ImageFiles(data), 2))


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 5, 70), (3, 64, 64), (3, 33, 97)])
def test_any_size_comes_back_from_tokens_and_from_bytes(tokenizer: ImageTokenizer, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    tokens = tokenizer.encode(x)
    data = tokenizer.compress(tokens)
    assert tokenizer.decompress(data) == tokens
    pixels = tokenizer.decode_signal(data).pixels
    assert pixels.shape == shape
    assert np.array_equal(pixels, tokenizer.decode_signal(tokens).pixels)
    assert tokenizer.decode(tokens).shape == shape
    assert torch.equal(tokenizer.encode(torch.from_numpy(x).float() / 127.5 - 1).codes, tokens.codes)


def test_floats_of_16_bits_are_taken(tokenizer: ImageTokenizer) -> None:
    x = torch.linspace(-1, 1, 3 * 20 * 20).view(3, 20, 20).bfloat16()
    assert tokenizer.encode(x) == tokenizer.encode(x.half()) == tokenizer.encode(x.double())


def test_tiles_give_the_codes_and_pixels_of_the_whole(tokenizer: ImageTokenizer) -> None:
    x = np.random.default_rng(1).integers(0, 256, (3, 1312, 480)).astype(np.uint8)
    codec, model = tokenizer.codec, tokenizer.entropy_model
    assert model is not None
    tiled = made(codec, tokenizer.tables, tile=16)
    assert tiled.tiles.side < 26
    tokens = tiled.encode(x)
    assert tokens.quality_index is not None
    assert tokens.steps < tokens.codes.shape[2]
    with torch.inference_mode():
        bands = codec.encoder(torch.from_numpy(x[None]).float() / 127.5 - 1).split(tokens.steps, 2)
        codes = torch.cat([model.encode(band, tokens.quality_index, tokenizer.bit_costs) for band in bands], 2)
        bands = [model.decode(band.long(), tokens.quality_index) for band in tokens.codes.split(tokens.steps, 2)]
        whole = codec.synthesize(torch.cat(bands, 2), tokens.quality_index)[0].clamp(-1, 1)
    assert (codes != tokens.codes).sum() <= 1e-4 * codes.numel()  # ties of rounding
    torch.testing.assert_close(tiled.decode(tokens), whole, atol=1e-5, rtol=0)
    assert (tiled.decode_signal(tokens).pixels != ((whole + 1) * 127.5).round().numpy()).sum() <= 1e-4 * x.size


def test_every_flipped_byte_is_told(tokenizer: ImageTokenizer) -> None:
    data = tokenizer.compress(tokenizer.encode(np.zeros((3, 40, 40), np.uint8)))
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x55
        with pytest.raises((StreamError, WrongModel)):
            tokenizer.decode_signal(bytes(damaged))
    for length in range(len(data)):
        with pytest.raises((DamagedStream, StreamError)):
            tokenizer.decode_signal(data[:length])


def test_a_checkpoint_codes_as_the_tokenizer_that_it_was_saved_from(tokenizer: ImageTokenizer, tmp_path: Path) -> None:
    folder.save(tmp_path / "m", tokenizer)
    loaded = load(tmp_path / "m")
    assert isinstance(loaded, ImageTokenizer)
    x = np.random.default_rng(2).integers(0, 256, (3, 32, 32)).astype(np.uint8)
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.compress(loaded.encode(x)) == tokenizer.compress(tokenizer.encode(x))


BOTTLENECKS = [
    VQ(8, LearnedCodebook(4, 32)),
    FSQ(8, (5, 5), 2),
    MultiCodebook(8, 2, 16, 4, AttentionProjection(8, 8, 2)),
    ResidualVQ(8, 3, 16, 4),
    IBQ(8, 32, 4),
    LFQ(8, 14),
    BSQ(8, 6),
    Gaussian(8, 3, Rounding()),
    Tanh(8, 3, Rounding(0.125, 1)),
    SoftNorm(8, 3, rounding=Rounding()),
]


def whole(bottleneck: Bottleneck) -> ImageTokenizer:
    """A tokenizer that sees all of a picture, of stride 4."""
    torch.manual_seed(0)
    codec = Codec(LDMEncoder(8, 4, (1, 2, 2), 1, 1, 2), bottleneck, LDMDecoder(8, 4, (1, 2, 2), 1, 1, 2))
    return ImageTokenizer(codec)


@pytest.mark.parametrize("bottleneck", BOTTLENECKS, ids=lambda bottleneck: type(bottleneck).__name__)
@pytest.mark.parametrize("shape", [(3, 22, 41), (1, 1, 3)])
def test_networks_that_see_all_take_any_bottleneck(
    bottleneck: Bottleneck, shape: tuple[int, ...], tmp_path: Path
) -> None:
    tokenizer = whole(bottleneck)
    x = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    tokens = tokenizer.encode(x)
    assert tokens.codes.shape == (1, tokenizer.codebooks, -(-shape[1] // 4), -(-shape[2] // 4))
    assert tokenizer.decompress(tokenizer.compress(tokens)) == tokens
    tokenizer.tables = tokenizer.fit_tables(tokens.codes)
    folder.save(tmp_path / "m", tokenizer, torch.float16)
    loaded = load(tmp_path / "m")
    assert isinstance(loaded, ImageTokenizer)
    ours = loaded.encode(x)
    data = loaded.compress(ours)
    pixels = loaded.decode_signal(data).pixels
    assert loaded.decompress(data) == ours
    assert np.array_equal(pixels, loaded.decode_signal(ours).pixels)
    assert pixels.shape == shape
    assert [read_header(stream).coder for stream in (data, ours.compress())] == ["rans", "raw"]


def test_a_whole_picture_is_neither_tiled_nor_larger_than_was_said() -> None:
    tokenizer = whole(FSQ(8, (5, 5), 2))
    x = np.random.default_rng(0).integers(0, 256, (3, 40, 120)).astype(np.uint8)
    tiled = made(tokenizer.codec, tile=8)
    tokens = tokenizer.encode(x)
    assert tiled.encode(x) == tokens
    assert torch.equal(tiled.decode(tokens), tokenizer.decode(tokens))
    small = made(tokenizer.codec, max_pixels=40 * 120 - 1)
    for refused in (lambda: small.encode(x), lambda: small.decode(tokens)):
        with pytest.raises(InputError, match="at most 4799 pixels, since custom takes an image whole, got 120 × 40"):
            refused()


def test_bands_of_an_entropy_model_behind_networks_that_see_all() -> None:
    codec = Codec(
        LDMEncoder(8, 4, (1, 2), 1, 0, 2), SpaceChannelContext((3, 5), 1, (8, 8)), LDMDecoder(8, 4, (1, 2), 1, 0, 2)
    )
    tokenizer = ImageTokenizer(codec)
    x = np.random.default_rng(0).integers(0, 256, (3, 150, 10)).astype(np.uint8)
    tokens = tokenizer.encode(x)
    assert tokens.codes.shape == (1, 8, 76, 6)
    assert tokens.steps == 64
    with torch.inference_mode():
        z = codec.encoder(torch.from_numpy(np.pad(x, ((0, 0), (0, 2), (0, 2)), "edge")).float()[None] / 127.5 - 1)
        assert torch.equal(tokens.codes[:, :, :64], codec.bottleneck.encode(z[:, :, :64], tokens.quality_index).short())


def test_a_prefix_of_the_codebooks_is_a_picture() -> None:
    tokenizer = whole(ResidualVQ(8, 3, 16, 4))
    x = np.random.default_rng(0).integers(0, 256, (3, 20, 20)).astype(np.uint8)
    tokens = tokenizer.encode(x, codebooks=2)
    assert tokens == tokenizer.encode(x)[:, :2]
    assert tokenizer.decode(tokens).shape == x.shape
    with pytest.raises(InputError, match="expected codebooks of 1, 2, 3 for custom, got 4"):
        tokenizer.encode(x, codebooks=4)
    fixed = whole(MultiCodebook(8, 2, 16, 4))
    with pytest.raises(InputError, match="expected codebooks of 2 for custom, got 1"):
        fixed.decode(fixed.encode(x)[:, :1])


def test_latents_of_a_continuous_bottleneck_decode_to_the_image() -> None:
    tokenizer = whole(Gaussian(8, 3))
    x = np.random.default_rng(0).integers(0, 256, (3, 22, 41)).astype(np.uint8)
    latents = tokenizer.encode_latents(x)
    assert latents.values.shape == (1, 3, 6, 11)
    decoded = tokenizer.decode_latents(latents)
    assert decoded.shape == x.shape
    padded = torch.from_numpy(np.pad(x, ((0, 0), (0, 2), (0, 3)), "edge")).float()[None] / 127.5 - 1
    with torch.inference_mode():
        torch.testing.assert_close(decoded, tokenizer.codec(padded).x[0, :, :22, :41].clamp(-1, 1))
    with pytest.raises(InputError, match=r"expected a grid \(6, 12\) for 22 × 45 pixels"):
        tokenizer.decode_latents(replace(latents, extent=ImageExtent(22, 45, 3)))
    with pytest.raises(InputError, match="continuous latents; use encode_latents"):
        tokenizer.encode(x)
    with pytest.raises(InputError, match="expected a model with continuous latents, got custom"):
        whole(FSQ(8, (5, 5), 2)).encode_latents(x)


def test_a_codec_of_codebooks_codes_images_in_tiles_too() -> None:
    tokenizer = ImageTokenizer(Codec(ConvEncoder(8, 6), FSQ(8, (5, 5), 2), ConvDecoder(8, 6)))
    tiled = made(tokenizer.codec, tile=16)
    x = np.random.default_rng(0).integers(0, 256, (3, 420, 460)).astype(np.uint8)
    tokens = tokenizer.encode(x)
    assert tokens.codes.shape == (1, 2, 27, 29)
    assert (tiled.encode(x).codes != tokens.codes).sum() <= 1e-4 * tokens.codes.numel()
    assert tokenizer.decompress(tokenizer.compress(tokens)) == tokens
    with pytest.raises(InputError, match="has only one"):
        tokenizer.encode(x, quality=4)


def test_what_is_no_image_or_quality_is_refused(tokenizer: ImageTokenizer) -> None:
    x = np.zeros((3, 8, 8), np.uint8)
    for bad in (x[0], x[:2], x.astype(np.int32), np.full((3, 4, 4), np.nan)):
        with pytest.raises(InputError):
            tokenizer.encode(bad)
    for quality in (0, 9):
        with pytest.raises(InputError, match="from 1"):
            tokenizer.encode(x, quality=quality)
    assert tokenizer.encode(x, bits_per_pixel=8.0).quality_index == 56
    with pytest.raises(InputError, match="bits per pixel"):
        tokenizer.encode(x, bits_per_pixel=0.001)
    with pytest.raises(InputError, match="got both"):
        tokenizer.encode(x, bits_per_pixel=1, quality=1)


@pytest.fixture(scope="module")
def wider(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of a codec wide enough that several threads share its sums."""
    place = tmp_path_factory.mktemp("wider")
    write_synthetic_images(place / "made")
    torch.manual_seed(1)
    model = SpaceChannelContext((8, 8, 48), 2, (64, 64, 64))
    with torch.no_grad():
        model.root_gain.fill_(3.0)
        for predictor in itertools.chain(*model.predictors):
            torch.nn.init.normal_(predictor.out.weight, std=0.3)
    codec = Codec(LappedEncoder(64, 48, 8, 1), model, LappedDecoder(64, 48, 8, 8, 1)).eval()
    tokenizer = made(codec, fit_entropy_model_tables(made(codec), ImageFiles(place / "made"), 1))
    folder.save(place / "m", tokenizer, torch.float16)
    return place / "m"


def test_a_stream_reads_the_same_everywhere(wider: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(3).integers(0, 256, (3, 250, 300)).astype(np.uint8)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        tokenizer = load(wider)
        assert isinstance(tokenizer, ImageTokenizer)
        assert tokenizer.entropy_model is not None
        tokens = tokenizer.encode(x)
        data = tokenizer.compress(tokens)
        pixels = tokenizer.decode_signal(data).pixels
        torch.set_num_threads(2)
        again = load(wider)
        assert isinstance(again, ImageTokenizer)
        for found in (tokenizer, again):
            with torch.autocast("cpu", torch.bfloat16):
                assert found.compress(tokens) == data
                assert found.decompress(data) == tokens
                other = found.decode_signal(data).pixels
                same = found.encode(x).codes == tokens.codes
            assert same.float().mean() > 0.9999  # ties of rounding
            assert abs(other.astype(int) - pixels).max() <= 1
    finally:
        torch.set_num_threads(threads)
    both = tokens.codes.long().repeat(2, 1, 1, 1)
    assert tokens.quality_index is not None
    latents = tokenizer.entropy_model.decode(both, tokens.quality_index)
    assert torch.equal(latents[:1], tokenizer.entropy_model.decode(both[:1], tokens.quality_index))
    assert torch.equal(latents[:1], latents[1:])


def test_a_stream_reads_the_same_in_another_process(wider: Path, tmp_path: Path) -> None:
    tokenizer = load(wider)
    assert isinstance(tokenizer, ImageTokenizer)
    tokens = tokenizer.encode(np.random.default_rng(4).integers(0, 256, (3, 100, 130)).astype(np.uint8), quality=6)
    (tmp_path / "s.nrw").write_bytes(tokenizer.compress(tokens))
    program = (
        "import sys, hashlib, torch, narrows\n"
        "torch.set_num_threads(2)\n"
        "tokens = narrows.load(sys.argv[1]).decompress(open(sys.argv[2], 'rb').read())\n"
        "print(hashlib.sha256(tokens.codes.numpy().tobytes()).hexdigest())"
    )
    command = [sys.executable, "-c", program, str(wider), str(tmp_path / "s.nrw")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == hashlib.sha256(tokens.codes.numpy().tobytes()).hexdigest()


def test_without_tables_an_entropy_model_says_so(tokenizer: ImageTokenizer) -> None:
    bare = made(tokenizer.codec)
    with pytest.raises(InputError, match="tables"):
        bare.compress(bare.encode(np.zeros((3, 8, 8), np.uint8)))


def test_tokens_that_do_not_fit_are_refused(tokenizer: ImageTokenizer) -> None:
    tokens = tokenizer.encode(np.zeros((3, 40, 70), np.uint8))
    for wrong in (
        replace(tokens, codes=tokens.codes[:, :, :2]),
        replace(tokens, codes=tokens.codes[:, :4], radices=tokens.radices[:4]),
        replace(tokens, quality_index=None),
        replace(tokens, quality_index=57),
        replace(tokens, extent=ImageExtent(40, 70, 2)),
    ):
        with pytest.raises(InputError):
            tokenizer.decode(wrong)


def test_a_single_quality_is_not_chosen() -> None:
    tokenizer = ImageTokenizer(Codec(ConvEncoder(8, 6), FSQ(8, (5, 5), 2), ConvDecoder(8, 6)))
    x = np.zeros((1, 20, 40), np.uint8)
    assert tokenizer.encode(x).quality_index is None
    with pytest.raises(InputError, match="only one"):
        tokenizer.encode(x, quality=4)


def test_a_codec_for_sound_is_refused() -> None:
    with pytest.raises(InputError, match="expected a codec of 2 axes for image, got one of 1"):
        ImageTokenizer(Codec(FrameEncoder(8, 16, 1), FSQ(8, (4, 4)), FrameDecoder(8, 16, 1)))


def test_a_batch_is_coded_and_decoded_as_its_images_alone(tokenizer: ImageTokenizer) -> None:
    draw = np.random.default_rng(3)
    images = [draw.integers(0, 256, shape).astype(np.uint8) for shape in 2 * [(3, 40, 50), (1, 20, 20), (3, 50, 40)]]
    batch = tokenizer.encode_batch(images, quality=3)
    alone = [tokenizer.encode(x, quality=3) for x in images]
    for one, other in zip(batch, alone, strict=True):
        assert one.extent == other.extent
        assert (one.codes != other.codes).sum() <= 1e-3 * one.codes.numel()
    for one, tokens in zip(tokenizer.decode_batch(batch), batch, strict=True):
        torch.testing.assert_close(one, tokenizer.decode(tokens), atol=1e-5, rtol=0)
    assert tokenizer.encode_batch([]) == tokenizer.decode_batch([]) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"quality_index": 99},
        {"quality_index": None},
        {"extent": ImageExtent(4000, 4000, 3)},
        {"extent": ImageExtent(8, 8, 2)},
    ],
)
def test_tokens_that_could_not_be_read_again_are_not_compressed(
    tokenizer: ImageTokenizer, wrong: dict[str, object]
) -> None:
    tokens = tokenizer.encode(np.zeros((3, 20, 20), np.uint8))
    with pytest.raises(InputError, match="expected"):
        tokenizer.compress(replace(tokens, **wrong))


@pytest.mark.parametrize(
    ("scale", "offset", "message"),
    [
        (255, 0, "got 0 to 255; give levels of 0 to 255 as uint8"),
        (65535, 0, "got 0 to 6.554e.04; scale them"),
        (256, -128, "got -128 to 128; scale them"),
        (2.2, 0, "as uint8"),
    ],
)
def test_floats_far_outside_of_the_range_are_refused(
    tokenizer: ImageTokenizer, scale: float, offset: float, message: str
) -> None:
    x = np.linspace(0, scale, 3 * 8 * 8, dtype=np.float32).reshape(3, 8, 8) + offset
    for encode in (
        tokenizer.encode,
        lambda x: tokenizer.encode_batch([x]),
        lambda x: tokenizer.encode(torch.from_numpy(x)),
    ):
        with pytest.raises(InputError, match=message):
            encode(x)


def test_floats_slightly_outside_of_the_range_are_clipped(tokenizer: ImageTokenizer) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (3, 20, 20)).astype(np.float32)
    x[:, 0], x[:, 1] = 1.2, -1.2
    assert tokenizer.encode(x) == tokenizer.encode(x.clip(-1, 1))


def with_alpha(height: int, width: int, channels: int = 3) -> Image:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (channels, height, width), np.uint8)
    return Image(pixels, random.integers(0, 256, (height, width), np.uint8))


@pytest.mark.parametrize("shape", [(1, 1, 1), (33, 97, 3), (20, 30, 1), (2, 16_400, 3)])
def test_alpha_is_attached_and_comes_back(tokenizer: ImageTokenizer, shape: tuple[int, int, int]) -> None:
    signal = with_alpha(*shape)
    tokens = tokenizer.encode_signal(signal, quality=2)
    plain = tokenizer.encode(signal.pixels, quality=2)
    assert torch.equal(tokens.codes, plain.codes)
    assert list(tokens.attachments) == ["alpha"]
    assert plain.attachments == {}
    data = tokenizer.compress(tokens)
    for found in (
        tokenizer.decode_signal(tokens),
        tokenizer.decode_signal(data),
        tokenizer.decode_signal(tokenizer.decompress(data)),
    ):
        assert np.array_equal(found.alpha, signal.alpha)
        assert np.array_equal(found.pixels, tokenizer.decode_signal(plain).pixels)


def test_alpha_of_files(tokenizer: ImageTokenizer, tmp_path: Path) -> None:
    signal = with_alpha(20, 30)
    write(tmp_path / "a.png", signal.pixels, alpha=signal.alpha)
    tokens = tokenizer.encode_file(tmp_path / "a.png", quality=3)
    tokenizer.decode_file(tokens, tmp_path / "b.png")
    assert np.array_equal(read(tmp_path / "b.png").alpha, signal.alpha)
    flat = tokenizer.encode_file(tmp_path / "a.png", background="red", quality=3)
    assert flat == tokenizer.encode_signal(signal.flattened("red"), quality=3)
    assert flat.attachments == {}
    with pytest.raises(InputError, match="expected a colour"):
        tokenizer.encode_file(tmp_path / "a.png", background="reddish")


@pytest.mark.parametrize("payload", [b"RIFF", b"", bytes(100)])
def test_attachments_that_are_no_alpha_plane(tokenizer: ImageTokenizer, payload: bytes) -> None:
    tokens = tokenizer.encode_signal(with_alpha(20, 30))
    other = tokenizer.encode_signal(with_alpha(30, 20))
    for wrong in (payload, other.attachments["alpha"]):
        with pytest.raises(DamagedStream, match="expected an alpha plane"):
            tokenizer.decode_signal(replace(tokens, attachments={"alpha": wrong}))


def test_alpha_of_large_images_gives_no_warning(tokenizer: ImageTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = tokenizer.encode_signal(with_alpha(20, 30))
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 400)  # Pillow warns above it, which is an error in tests
    assert tokenizer.decode_signal(tokens).alpha is not None


def test_damaged_streams_are_recovered(tokenizer: ImageTokenizer) -> None:
    signal = with_alpha(16 * 75, 24)  # two bands, of 64 and 11 rows of the grid
    tokens = tokenizer.encode_signal(signal)
    data = tokenizer.compress(tokens)
    intact, rows = tokenizer.recover(data)
    assert (intact, rows) == (tokens, [])
    last = bytearray(data)
    last[-9] ^= 1
    found, rows = tokenizer.recover(bytes(last))
    assert rows == [(1024.0, 1200.0)]
    assert torch.equal(found.codes[:, :, :64], tokens.codes[:, :, :64])
    assert np.array_equal(found.attachments["alpha"], tokens.attachments["alpha"])
    grey = tokenizer.encode(np.full((3, 176, 24), 128, np.uint8))
    assert torch.equal(found.codes[:, :, 64:], grey.codes)
    assert tokenizer.decode_signal(found).pixels.shape == signal.pixels.shape
    header = read_header(data)
    alpha = bytearray(data)
    alpha[len(header.to_bytes()) + 20] ^= 1
    found, rows = tokenizer.recover(bytes(alpha))
    assert (found, rows) == (replace(tokens, attachments={}), [])


def test_images_of_pillow_are_encoded_as_files(tokenizer: ImageTokenizer, tmp_path: Path) -> None:
    exif = PILImage.Exif()
    exif[0x0112] = 6
    random = np.random.default_rng(0)
    for mode, channels in (("RGB", 3), ("RGBA", 4), ("L", 1), ("LA", 2)):
        values = random.integers(0, 256, (20, 30, channels), np.uint8)
        picture = PILImage.fromarray(values.squeeze(), mode)
        picture.save(tmp_path / "a.png", exif=exif)
        expected = tokenizer.encode_file(tmp_path / "a.png", quality=3)
        opened = PILImage.open(tmp_path / "a.png")
        assert tokenizer.encode(opened, quality=3) == expected
        (found,) = tokenizer.encode_batch([opened], quality=3)
        assert found == expected
        decoded = tokenizer.decode_image(expected)
        assert decoded.size == (20, 30)
        assert decoded.mode == mode
        assert tokenizer.decode_image(tokenizer.compress(expected)).tobytes() == decoded.tobytes()
        array = np.asarray(decoded).reshape(30, 20, channels)
        colours = tokenizer.decode_signal(expected).pixels
        assert np.array_equal(array[..., : len(colours)].transpose(2, 0, 1), colours)


def test_alpha_counts_in_batches_and_is_refused_as_latents(tokenizer: ImageTokenizer) -> None:
    transparent = with_alpha(20, 30)
    found = tokenizer.encode_batch([transparent.as_pil(), transparent.pixels])
    assert [list(tokens.attachments) for tokens in found] == [["alpha"], []]
    assert torch.equal(found[0].codes, found[1].codes)
    continuous = ImageTokenizer(Codec(ConvEncoder(8, 8), Gaussian(8, 3), ConvDecoder(8, 8)))
    with pytest.raises(InputError, match="expected opaque pixels, got transparent ones"):
        continuous.encode_latents(transparent.as_pil())
    opaque = Image(transparent.pixels)
    assert torch.equal(
        continuous.encode_latents(opaque.as_pil()).values, continuous.encode_latents(opaque.pixels).values
    )


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((20, 30, 3), np.uint8), r"got shape \(20, 30, 3\); give x.transpose\(2, 0, 1\)$"),
        (torch.zeros(20, 30, 3), r"; give x.permute\(2, 0, 1\)$"),
        (np.zeros((20, 30, 1), np.uint8), r"; give x.transpose\(2, 0, 1\)$"),
        (torch.zeros(20, 30), r"; give x\[None\]$"),
        (np.zeros((20, 30, 4), np.uint8), r"; give x\[..., :3\].transpose\(2, 0, 1\), or an image of Pillow"),
        (np.zeros((4, 20, 30), np.uint8), r"; give x\[:3\], or an image of Pillow"),
        (np.zeros((2, 3, 20, 30), np.uint8), "; give the images to encode_batch$"),
        (np.zeros((5,), np.uint8), r"got shape \(5,\)$"),
        (Image(np.zeros((1, 2, 3), np.uint8)), "got Image$"),
        (PILImage.new("RGB", (0, 3)), "expected an image of one pixel or more, got 0 × 3"),
    ],
)
def test_other_layouts_are_named(tokenizer: ImageTokenizer, x: Any, message: str) -> None:
    for act in (tokenizer.encode, tokenizer.encode_latents, lambda x: tokenizer.encode_batch([x])):
        with pytest.raises(InputError, match=message):
            act(x)
