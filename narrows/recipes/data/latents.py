"""Latents of a finished codec as training data: made once from crops of media, kept as token shards, drawn at random.

    media ─▶ crop x ─┬──────────────▶ codec ─▶ z          OUT/00007-of-00032.parquet, a row for each signal
                     └─▶ transform ─▶ codec ─▶ z'
                     └─▶ embedding of x, or its label     in the metadata of its row

What is stored of z: the codes of a codec that has some, the channels of continuous latents, and for an entropy model
what the encoder returns. A shard is made of the crops of its numbers alone, so that an interrupted preparation goes on.
"""

import json
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from narrows.codecs.bottlenecks.continuous import Continuous
from narrows.codecs.bottlenecks.entropy.base import EntropyModel
from narrows.codecs.codec import Codec
from narrows.datasets.base import DatasetInfo, TokenizedItem
from narrows.datasets.shards import read_shard, write_shard
from narrows.datasets.worker import dataset_info
from narrows.errors import InputError
from narrows.media.atomic import write_bytes
from narrows.recipes.data.audio import AudioCrops, AudioFiles
from narrows.recipes.data.crops import TURN, RandomCrops
from narrows.recipes.data.files import MediaFiles, Sources
from narrows.recipes.data.images import ImageCrops, ImageFiles
from narrows.recipes.data.targets import Target
from narrows.recipes.data.transforms import Transform
from narrows.recipes.data.videos import VideoCrops, VideoFiles
from narrows.recipes.settings import LatentData
from narrows.tokenizers.tokenizer import Tokenizer

SHARD = 64  # crops
SHARDS = 16  # that successive crops are drawn from, and that are kept in memory
FORMAT = 1
FLOAT16_MAX = 65504.0
PARTIAL = ".narrows-*.part"  # what a process that was killed leaves of a shard
MANIFEST = "manifest.json"
ORIGINAL = "original"


def media_files(base: Tokenizer, source: Sources) -> MediaFiles:
    """The media of a source, as a tokenizer takes them."""
    match base.medium.name:
        case "audio":
            return AudioFiles(source, base.sample_rate or 0, base.codec.channels)
        case "image":
            return ImageFiles(source)
        case _:
            return VideoFiles(source)


def media_crops(base: Tokenizer, files: MediaFiles, data: LatentData, count: int, seed: Sequence[int]) -> RandomCrops:
    """Random crops of media for the latents of a tokenizer; their sizes are rounded up to whole latents."""
    strides = base.codec.stride
    if isinstance(files, AudioFiles):
        samples = -(-round(data.seconds * files.sample_rate) // strides[0]) * strides[0]
        return AudioCrops(files, samples, count, seed)
    multiple = base.entropy_model.multiple if base.entropy_model else 1
    side = multiple * max(strides[-2:])
    size = -(-data.crop_size // side) * side
    if isinstance(files, VideoFiles):
        return VideoCrops(files, -(-data.frames // strides[0]) * strides[0], size, count, seed)
    assert isinstance(files, ImageFiles)
    return ImageCrops(files, size, count, seed)


@dataclass(frozen=True)
class Stored:
    """How latents of a codec are stored.

    Args:
        codec: the codec.
    """

    codec: Codec

    @property
    def form(self) -> Literal["codes", "channels", "latents"]:
        """Codes of a codec that has some, channels of continuous latents, or the latents of an encoder."""
        if isinstance(self.codec.bottleneck, EntropyModel):
            return "latents"
        if self.codec.bottleneck.codebook_sizes:
            return "codes"
        return "channels" if isinstance(self.codec.bottleneck, Continuous) else "latents"

    def info(self, tokenizer: Tokenizer) -> DatasetInfo:
        """What all shards have in common."""
        if self.form != "latents":
            return dataset_info(tokenizer, {})
        codec = self.codec
        return DatasetInfo(
            medium=tokenizer.medium.name,
            kind="latents",
            model=tokenizer.name,
            fingerprint=tokenizer.fingerprint,
            radices=(),
            depth=codec.encoder.dim,
            strides=codec.stride,
            channels=codec.channels,
            sample_rate=tokenizer.sample_rate,
        )

    @torch.inference_mode()
    def values(self, x: Tensor) -> NDArray[Any]:
        """What is stored of signals (B, C, *signal): (B, K or D, *grid), integers or float16."""
        z = self.codec.analyze(x)
        if self.form == "codes":
            codes: NDArray[Any] = self.codec.bottleneck.encode(z).cpu().numpy()
            return codes
        if self.form == "channels":
            assert isinstance(self.codec.bottleneck, Continuous)
            z = self.codec.bottleneck.encode_latents(z)
        if float(z.abs().max()) > FLOAT16_MAX:
            raise InputError(
                f"expected latents up to {FLOAT16_MAX:g}, got {float(z.abs().max()):.3g}; use another base"
            )
        values: NDArray[Any] = z.float().cpu().numpy().astype(np.float16)
        return values

    @torch.no_grad()
    def latents(self, values: NDArray[Any]) -> Tensor:
        """Latents (B, D, *grid) float32 of stored values."""
        bottleneck = self.codec.bottleneck
        if self.form == "codes":
            return bottleneck.decode(torch.from_numpy(values.astype(np.int64)))
        stored = torch.from_numpy(values.astype(np.float32))
        if self.form == "channels":
            assert isinstance(bottleneck, Continuous)
            return bottleneck.decode_latents(stored)
        return stored


@dataclass(frozen=True)
class Preparation:
    """Makes the shards of a folder.

    Args:
        tokenizer: the finished tokenizer.
        crops: of media at its rate; all of them are used.
        transforms: each is applied to every crop, with parameters of its own.
        target: an embedding or label of a crop (C, *signal) of an item of the crops' media; None for none.
        facts: what the shards depend on beside the tokenizer and the transforms, for the manifest.
    """

    tokenizer: Tokenizer
    crops: RandomCrops
    transforms: Sequence[Transform] = ()
    target: Callable[[Tensor, int], Target] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def run(self, folder: Path, progress: Callable[[float], None] = lambda _: None) -> "LatentShards":
        """Make the shards that are missing; those of other facts are removed.

        Args:
            folder: of the shards.
            progress: called with the fraction that is done, up to 1.
        """
        manifest = folder / MANIFEST
        if not manifest.is_file() or manifest.read_text(encoding="utf-8") != self._manifest:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_bytes(manifest, self._manifest.encode(), overwrite=True)
        for path in folder.glob(PARTIAL):
            path.unlink(missing_ok=True)
        for index in range(self._count):
            path = folder / f"{index:05d}-of-{self._count:05d}.parquet"
            if not path.exists():
                numbers = range(index * SHARD, min((index + 1) * SHARD, len(self.crops)))
                write_shard(path, [item for number in numbers for item in self._items(number)], self._info)
            progress((index + 1) / self._count)
        return self._shards(folder)

    def wait(self, folder: Path) -> "LatentShards":
        """The shards that another process makes, once they are all there."""
        while not self._is_done(folder):
            time.sleep(1)
        return self._shards(folder)

    def _is_done(self, folder: Path) -> bool:
        manifest = folder / MANIFEST
        done = len(list(folder.glob("*-of-*.parquet"))) == self._count
        return done and manifest.is_file() and manifest.read_text(encoding="utf-8") == self._manifest

    def _shards(self, folder: Path) -> "LatentShards":
        return LatentShards(folder, self.tokenizer.codec, self.transforms)

    @property
    def _count(self) -> int:
        return -(-len(self.crops) // SHARD)

    @cached_property
    def _manifest(self) -> str:
        facts = {"format": FORMAT, **asdict(self._info), "crops": len(self.crops), **self.facts}
        facts["transforms"] = [transform.name for transform in self.transforms]
        return json.dumps(facts, indent=1, default=str) + "\n"

    @cached_property
    def _info(self) -> DatasetInfo:
        return Stored(self.tokenizer.codec).info(self.tokenizer)

    def _items(self, number: int) -> list[TokenizedItem]:
        """The rows of a crop: the crop, and each of its transforms."""
        info = self._info
        x, item = self.crops.drawn(number)
        signals, meta = [x], [dict[str, Any]()]
        if self.target is not None:
            found = self.target(x, item)
            meta[0] |= {"target": found if isinstance(found, int) else json.dumps([float(v) for v in found])}
        for place, transform in enumerate(self.transforms):
            parameters = transform.draw(np.random.default_rng((*self.crops.seed, number, place)))
            signals.append(transform(x, parameters))
            meta.append({"parameters": json.dumps(parameters)})
        values = Stored(self.tokenizer.codec).values(torch.stack(signals).to(self.tokenizer.device))
        grid, names = values.shape[2:], [ORIGINAL, *(transform.name for transform in self.transforms)]
        extent = self.tokenizer.medium.extent.of_grid(
            tuple(grid), info.strides, info.channels, self.tokenizer.sample_rate or 25
        )
        return [
            TokenizedItem(f"{number:07d} {name}", each[None], extent, described, number)
            for name, each, described in zip(names, values, meta, strict=True)
        ]


@dataclass(frozen=True)
class LatentExample:
    """A crop of the training data, or a batch of them.

    Attributes:
        z: latents (D, *grid).
        transformed: latents of the transformed signal, the same shape; None without transforms.
        parameters: (P,) of the transform.
        transform: its place in the list of transforms.
        target: the embedding (E,), or the label; None without.
    """

    z: Tensor
    transformed: Tensor | None = None
    parameters: Tensor | None = None
    transform: int = 0
    target: Tensor | None = None

    def to(self, device: torch.device) -> "LatentExample":
        """The same on another device."""
        given = (self.transformed, self.parameters, self.target)
        transformed, parameters, target = (None if each is None else each.to(device) for each in given)
        return LatentExample(self.z.to(device), transformed, parameters, self.transform, target)


class LatentShards:
    """The prepared shards of a folder; the last ones that were read are kept.

    Args:
        folder: of the shards.
        codec: that made them.
        transforms: that they have.
    """

    def __init__(self, folder: Path, codec: Codec, transforms: Sequence[Transform] = ()) -> None:
        self.folder, self.transforms = folder, tuple(transforms)
        self._stored = Stored(codec)
        self.paths = sorted(folder.glob("*-of-*.parquet"))
        if not self.paths:
            raise InputError(f"expected latents in {folder}, got none; run the same command again")
        self._kept = OrderedDict[int, list[TokenizedItem]]()
        last = len(read_shard(self.paths[-1])) // self.rows
        self.count = (len(self.paths) - 1) * SHARD + last

    @property
    def rows(self) -> int:
        """Rows of a crop: itself and its transforms."""
        return 1 + len(self.transforms)

    def __len__(self) -> int:
        return self.count

    def example(self, index: int, transform: int = 0) -> LatentExample:
        """A crop, with one of its transforms, if it has any."""
        items = self._shard(index // SHARD)
        first = index % SHARD * self.rows
        original = items[first]
        z = self._stored.latents(original.values)[0]
        target = None
        if (given := original.meta.get("target")) is not None:
            target = torch.tensor(json.loads(given) if isinstance(given, str) else given)
        if not self.transforms:
            return LatentExample(z, target=target)
        other = items[first + 1 + transform]
        parameters = torch.tensor(json.loads(str(other.meta["parameters"])))
        return LatentExample(z, self._stored.latents(other.values)[0], parameters, transform, target)

    def _shard(self, index: int) -> list[TokenizedItem]:
        if index not in self._kept:
            self._kept[index] = list(read_shard(self.paths[index]))
            if len(self._kept) > SHARDS + 1:
                self._kept.popitem(last=False)
        self._kept.move_to_end(index)
        return self._kept[index]


class LatentCrops(Dataset[LatentExample]):
    """Random crops of prepared latents. A crop depends on the seed and its number alone.

    All crops of a batch have the same transform. Successive crops are from a few shards, which stay in memory.

    Args:
        shards: to draw from.
        count: number of crops.
        batch_size: crops of a batch.
        seed: integers that seed the random draws.
    """

    def __init__(self, shards: LatentShards, count: int, batch_size: int, seed: Sequence[int]) -> None:
        self.shards, self.count, self.batch_size, self.seed = shards, count, batch_size, tuple(seed)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> LatentExample:
        """The crop of a number, with a transform."""
        turn = np.random.default_rng((*self.seed, 0, index // TURN))
        chosen = turn.choice(len(self.shards.paths), SHARDS)
        rng = np.random.default_rng((*self.seed, 1, index))
        number = int(chosen[rng.integers(SHARDS)]) * SHARD + int(rng.integers(SHARD))
        of_batch = np.random.default_rng((*self.seed, 2, index // self.batch_size))
        transform = int(of_batch.integers(max(1, len(self.shards.transforms))))
        return self.shards.example(number % len(self.shards), transform)


def collated(examples: Sequence[LatentExample]) -> LatentExample:
    """A batch of examples with one transform: (B, D, *grid), (B, P), (B, E) or (B,)."""

    def stack(name: str) -> Tensor | None:
        given = [getattr(example, name) for example in examples]
        return None if given[0] is None else torch.stack(given)

    z = torch.stack([example.z for example in examples])
    return LatentExample(z, stack("transformed"), stack("parameters"), examples[0].transform, stack("target"))
