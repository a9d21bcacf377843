from pathlib import Path

import numpy as np
import pytest
import torch

import narrows
from narrows import datasets
from narrows.codecs import Gaussian
from narrows.errors import InputError
from narrows.recipes.data.labels import labels_of
from narrows.recipes.data.latents import LatentCrops, LatentShards, Preparation, collated, media_crops, media_files
from narrows.recipes.data.synthetic import write_synthetic_audio, write_synthetic_images, write_synthetic_videos
from narrows.recipes.data.transforms import transform
from narrows.recipes.settings import LatentData
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.tokenizer import Tokenizer

CROPS = 70  # more than a shard


@pytest.fixture
def base(tiny_checkpoint) -> Tokenizer:
    return narrows.load(tiny_checkpoint())


def preparation(base: Tokenizer, folder: Path, **more: object) -> Preparation:
    if not folder.exists():
        write_synthetic_audio(folder, base.sample_rate or 0)
    crops = media_crops(base, media_files(base, folder), LatentData(seconds=0.3), CROPS, (0, 2))
    return Preparation(base, crops, **more)  # type: ignore[arg-type]


def test_shards_hold_what_the_codec_makes_of_crops(base: Tokenizer, tmp_path: Path) -> None:
    gain = transform("audio", "gain", 16_000, base.codec.stride)
    seen = list[float]()
    made = preparation(base, tmp_path / "data", transforms=(gain,), target=lambda x, item: np.float32([item, x.max()]))
    shards = made.run(tmp_path / "out", seen.append)
    assert (len(shards), len(shards.paths), seen) == (CROPS, 2, [0.5, 1.0])
    for index in (0, 69):
        x, item = made.crops.drawn(index)
        example = shards.example(index)
        with torch.no_grad():
            wanted = base.codec.bottleneck(base.codec.analyze(x[None])).latents[0]
            torch.testing.assert_close(example.z, wanted, atol=1e-6, rtol=0)
            assert example.parameters is not None
            assert example.transformed is not None
            changed = gain(x, example.parameters.tolist())
            latents = base.codec.bottleneck(base.codec.analyze(changed[None])).latents[0]
        assert (example.transformed != latents).float().mean() < 0.01  # ties
        assert example.target is not None
        assert example.target.tolist() == pytest.approx([item, float(x.max())])
    data = datasets.load(tmp_path / "out")  # token shards like any other
    assert data[0].model == base.name


def test_an_interrupted_preparation_goes_on_and_another_one_begins_again(base: Tokenizer, tmp_path: Path) -> None:
    made = preparation(base, tmp_path / "data")
    shards = made.run(tmp_path / "out")
    bytes_of = [path.read_bytes() for path in shards.paths]
    shards.paths[1].unlink()
    first = shards.paths[0].stat().st_mtime_ns
    partial = tmp_path / "out" / ".narrows-0123456789abcdef.part"  # of a process that was killed
    partial.touch()
    again = made.run(tmp_path / "out")
    assert [path.read_bytes() for path in again.paths] == bytes_of
    assert again.paths[0].stat().st_mtime_ns == first
    assert not partial.exists()
    assert len(made.wait(tmp_path / "out")) == CROPS
    preparation(base, tmp_path / "data", facts={"other": 1}).run(tmp_path / "out")
    assert again.paths[0].stat().st_mtime_ns != first


def test_batches_have_one_transform_and_come_from_few_shards(base: Tokenizer, tmp_path: Path) -> None:
    transforms = [transform("audio", name, 16_000, base.codec.stride) for name in ("gain", "equalizer")]
    shards = preparation(base, tmp_path / "data", transforms=transforms).run(tmp_path / "out")
    crops = LatentCrops(shards, 100, 4, (0, 3))
    batches = [collated([crops[4 * step + i] for i in range(4)]) for step in range(12)]
    assert {batch.transform for batch in batches} == {0, 1}
    for batch in batches:
        assert batch.parameters is not None
        assert batch.parameters.shape == (4, (1, 4)[batch.transform])
    again = LatentCrops(shards, 100, 4, (0, 3))[9]
    assert torch.equal(again.z, crops[9].z)
    assert len({float(crops[i].z.sum()) for i in range(100)}) > 25


@pytest.mark.parametrize("medium", ["image", "video"])
def test_other_media(medium: str, image_checkpoint: Path, tiny_video: Path, tmp_path: Path) -> None:
    base = narrows.load(image_checkpoint if medium == "image" else tiny_video)
    {"image": write_synthetic_images, "video": write_synthetic_videos}[medium](tmp_path / "data")
    files = media_files(base, tmp_path / "data")
    crops = media_crops(base, files, LatentData(crop_size=40, frames=6), 3, (0, 1))
    flip = transform(medium, "flip", None, base.codec.stride)
    shards = Preparation(base, crops, (flip,)).run(tmp_path / "out")
    x, _ = crops.drawn(2)
    assert all(side % stride == 0 for side, stride in zip(x.shape[1:], base.codec.stride, strict=True))
    with torch.no_grad():
        z = base.codec.analyze(x[None])
        wanted = z if medium == "image" else base.codec.bottleneck(z).latents  # the encoder's, for an entropy model
    torch.testing.assert_close(shards.example(2).z, wanted[0], atol=2e-3, rtol=2e-3)


def test_continuous_latents_are_stored_as_channels(base: Tokenizer, tmp_path: Path) -> None:
    from narrows.codecs import Codec

    codec = Codec(base.codec.encoder, Gaussian(8, 3), base.codec.decoder)
    tokenizer = AudioTokenizer(codec, 16_000)
    shards = preparation(tokenizer, tmp_path / "data").run(tmp_path / "out")
    x, _ = preparation(tokenizer, tmp_path / "data").crops.drawn(5)
    with torch.no_grad():
        wanted = codec.bottleneck(codec.analyze(x[None])).latents[0]
    torch.testing.assert_close(shards.example(5).z, wanted, atol=1e-2, rtol=1e-2)
    assert datasets.load(tmp_path / "out")[5].values.shape[1] == 3


def test_labels_are_a_column_or_folders(tmp_path: Path) -> None:
    for name in ("anna", "bert"):
        write_synthetic_audio(tmp_path / "data" / name, 16_000, 0.5)
    base = narrows.load("speech")
    assert labels_of(media_files(base, tmp_path / "data")) == ["anna"] * 2 + ["bert"] * 2
    rows = [f"data/{name}/vowel-0.wav,{label}" for name, label in (("anna", "a"), ("bert", "b"))]
    (tmp_path / "list.csv").write_text("\n".join(["path,voice", *rows]))
    assert labels_of(media_files(base, tmp_path / "list.csv"), "voice") == ["a", "b"]
    with pytest.raises(InputError, match="expected items of several labels, got 'anna' for all"):
        labels_of(media_files(base, tmp_path / "data" / "anna"))


def test_a_folder_without_shards_is_refused(base: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected latents in"):
        LatentShards(tmp_path, base.codec)
