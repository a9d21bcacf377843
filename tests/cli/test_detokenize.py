import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

pytest.importorskip("pyarrow", reason="needs the extra datasets")

from narrows.checkpoints import folder
from narrows.checkpoints.load import load
from narrows.codecs import Codec, FrameDecoder, FrameEncoder, Gaussian, LappedDecoder, LappedEncoder, Tanh
from narrows.datasets.base import TokenizedItem
from narrows.datasets.shards import write_shard
from narrows.datasets.worker import dataset_info
from narrows.media import video
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.image import ImageTokenizer


def saved(path, tokenizer):
    tokenizer.name = "small"
    folder.save(path, tokenizer)
    return load(path)


@pytest.fixture
def recordings(model, place):
    """A folder of two shards of audio, and its tokenizer."""
    tokenizer, out = load(model), place / "out"
    out.mkdir()
    for index, key in enumerate(["a/b", "../c\nd e"]):
        x = 0.1 * np.random.default_rng(index).standard_normal((2, 3000)).astype("f4")
        tokens = tokenizer.encode(x, 22_050)
        write_shard(
            out / f"{index:05d}-of-00002.parquet",
            [TokenizedItem(key, tokens.codes.numpy(), tokens.extent, {"n": index})],
            dataset_info(tokenizer, {}),
        )
    return out, tokenizer


def test_a_recording(codec, refused, recordings, model, place) -> None:
    out, tokenizer = recordings
    result = codec("detokenize", out, "--key", "a/b", "-m", model)
    assert (result.code, result.out) == (0, "'a/b' → b.wav\n")
    x, rate = soundfile.read(place / "b.wav", dtype="float32")
    wave = 0.1 * np.random.default_rng(0).standard_normal((2, 3000)).astype("f4")
    assert rate == 22_050
    np.testing.assert_allclose(x.T, tokenizer.decode(tokenizer.encode(wave, 22_050)), atol=1e-4)
    assert "exists already" in refused("detokenize", out, "--key", "a/b", "-m", model)
    assert codec("detokenize", out, "--key", "../c\nd e", "-m", model).code == 0
    assert (place / "c_d_e.wav").exists()
    assert codec("detokenize", out, "--key", "a/b", "-m", model, "-o", "x.flac").code == 0
    assert soundfile.info(place / "x.flac").frames == 3000


def test_invalid_arguments_are_refused(refused, recordings, model, place, tiny_checkpoint) -> None:
    out, _ = recordings
    assert "expected the key of an item" in refused("detokenize", out, "--key", "x", "-m", model)
    assert "expected a model of this package, got 'tiny'" in refused("detokenize", out, "--key", "a/b")
    other = tiny_checkpoint("tiny", seed=1)
    assert "got data of tiny (" in refused("detokenize", out, "--key", "a/b", "-m", other)
    assert "expected a folder with token shards" in refused("detokenize", "nowhere", "--key", "a/b")
    assert "expected token shards in" in refused("detokenize", ".", "--key", "a/b")
    (out / "00000-of-00002.parquet").write_bytes(b"PAR1damagedPAR1")
    assert "00000-of-00002.parquet' cannot be read" in refused("detokenize", out, "--key", "a/b", "-m", model)


def test_an_image(codec, place, image_checkpoint) -> None:
    tokenizer, out = load(image_checkpoint), place / "out"
    out.mkdir()
    pixels = np.random.default_rng(0).integers(256, size=(3, 20, 30), dtype=np.uint8)
    tokens = tokenizer.encode(pixels, quality=3)
    row = TokenizedItem("p", tokens.codes.numpy(), tokens.extent)
    write_shard(out / "00000-of-00001.parquet", [row], dataset_info(tokenizer, {"quality": 3}))
    assert codec("detokenize", out, "--key", "p", "-m", image_checkpoint).code == 0
    assert np.array_equal(np.asarray(Image.open("p.png")), tokenizer.decode_signal(tokens).pixels.transpose(1, 2, 0))


def test_a_clip(codec, place, tiny_video) -> None:
    (place / "in").mkdir()
    frames = np.random.default_rng(0).integers(256, size=(7, 3, 16, 24), dtype=np.uint8)
    times = [Fraction(n, 30) for n in (0, 1, 2, 5, 6, 7, 9)]
    video.write(place / "in" / "a.mp4", frames, times=times)
    assert codec("tokenize", "in", "-m", tiny_video, "-o", "out", "--rank", 0, "--world", 1).code == 0
    assert codec("detokenize", "out", "--key", "a", "-m", tiny_video).code == 0
    info = video.probe("a.mp4")
    assert (info.frames, info.height, info.width, info.times) == (7, 16, 24, tuple(times))


@pytest.mark.parametrize("channels", [1, 3])
def test_latents_of_an_image(codec, place, channels) -> None:
    torch.manual_seed(0)
    network = Codec(LappedEncoder(8, 6, 2, 1), Gaussian(8, 3), LappedDecoder(8, 6, 2, 2, 1))
    tokenizer, out = saved(place / "model", ImageTokenizer(network)), place / "out"
    out.mkdir()
    pixels = np.random.default_rng(0).integers(256, size=(channels, 20, 30), dtype=np.uint8)
    latents = tokenizer.encode_latents(pixels)
    row = TokenizedItem("p", latents.values.numpy().astype("f2"), latents.extent)
    write_shard(out / "00000-of-00001.parquet", [row], dataset_info(tokenizer, {}))
    assert codec("detokenize", out, "--key", "p", "-m", "model").code == 0
    wanted = tokenizer.decode_latents(latents)
    wanted = wanted.mean(0) if channels == 1 else wanted.permute(1, 2, 0)
    assert np.abs(np.asarray(Image.open("p.png")) - (wanted.numpy() + 1) * 127.5).max() < 2


def test_latents_of_audio(codec, place) -> None:
    torch.manual_seed(0)
    network = Codec(FrameEncoder(8, 16, 1), Tanh(8, 3), FrameDecoder(8, 16, 1, iterations=1))
    tokenizer = saved(place / "model", AudioTokenizer(network, 16_000))
    (place / "source").mkdir()
    x = 0.1 * np.random.default_rng(0).standard_normal((2, 5000)).astype("f4")
    soundfile.write(place / "source" / "a.wav", x.T, 22_050, "FLOAT")
    assert codec("tokenize", "source", "-m", "model", "-o", "out", "--rank", 0, "--world", 1).code == 0
    assert codec("detokenize", "out", "--key", "a", "-m", "model").code == 0
    latents = tokenizer.encode_latents(x, 22_050)
    wanted = tokenizer.decode_latents(replace(latents, values=latents.values.half().float()))
    decoded, rate = soundfile.read(place / "a.wav", dtype="float32")
    assert rate == 22_050
    np.testing.assert_allclose(decoded.T, wanted, atol=1e-4)


def test_exports(codec, refused, recordings, place) -> None:
    out, _ = recordings
    result = codec("export-tokens", out, "--to", "npy", "-o", "np")
    assert (result.code, result.out) == (0, f"{out} → np  2 items\n")
    keys = [json.loads(line)["key"] for line in (place / "np" / "index.jsonl").read_text().splitlines()]
    assert keys == ["a/b", "../c\nd e"]
    assert "'np' is not empty; pass --force" in refused("export-tokens", out, "--to", "npy", "-o", "np")
    assert codec("export-tokens", out, "--to", "npy", "-o", "np", "--force").code == 0
    assert codec("export-tokens", out, "--to", "megatron", "--pattern", "delayed", "-o", "ids").code == 0
    assert json.loads((place / "ids" / "vocabulary.json").read_text())["pattern"] == "delayed"
    assert "omit it" in refused("export-tokens", out, "--to", "hf", "--pattern", "raster", "-o", "hf")
    (out / "00000-of-00002.parquet").unlink()
    assert "expected 2 shards" in refused("export-tokens", out, "--to", "hf", "-o", "hf")
    assert codec("export-tokens", out, "--to", "hf", "-o", "hf", "--allow-missing").code == 0
