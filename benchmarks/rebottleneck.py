"""What a Re-Bottleneck does to the latents of a finished codec, in four experiments with several seeds.

    python benchmarks/rebottleneck.py ordered --train DIR --valid DIR > ordered.jsonl
    python benchmarks/rebottleneck.py aligned --train DIR --valid DIR --labels FILE.csv
    python benchmarks/rebottleneck.py equivariant --train DIR --valid DIR
    python benchmarks/rebottleneck.py discrete --train DIR --valid DIR

ordered      the model speech: error of latents and quality of decoded speech by the number of channels kept; the base
             with its other scalars set to zero, the principal components of its latents, and the Re-Bottleneck
aligned      speech, aligned to voice embeddings: accuracy of a linear classifier of speakers on mean latents of half a
             second, of recordings that were not trained on, and the error of a small network that predicts the next
             frame; FILE has the columns file (a path that ends with that of a recording) and group (its speaker)
equivariant  speech: error of T(z(x)) against z(T(x)) on other recordings, with other parameters than in training,
             relative to the variance of each channel, and to the covariance of all
discrete     images: FSQ between the latents of a VAE, against the same networks trained with FSQ from the start
"""

import csv
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from common import argument_parser, check_positive, emit, fail, image_files, mean_and_std, run, show
from torch import Tensor, nn

import narrows
from narrows.codecs import FSQ, Codec, Gaussian, LappedDecoder, LappedEncoder
from narrows.evaluation.metrics.pesq_wb import pesq_wb
from narrows.evaluation.metrics.spectral import mel_distance
from narrows.media import audio, image
from narrows.recipes import AdamW, ImageData, ImageTokenizerRecipe, Schedule
from narrows.recipes import run as train
from narrows.recipes.data.audio import AudioFiles
from narrows.recipes.data.latents import LatentShards, Preparation, media_crops, media_files
from narrows.recipes.data.transforms import transform
from narrows.recipes.initialization.decoder_metric import Statistics, decoder_metric, square_root
from narrows.recipes.losses.images import LaplacianPyramidLoss
from narrows.recipes.losses.structure import EquivarianceLoss
from narrows.recipes.rebottleneck import FSQ_LEVELS, Alignment, Network, rebottleneck
from narrows.recipes.settings import LatentData
from narrows.recipes.training.rebottleneck import METRIC_CROPS

KEPT = (1, 2, 4, 8, 16, 24, 32, 40, 48)
MAX_RECORDINGS = 5  # that are decoded
TRANSFORMS = ("gain", "equalizer", "pitch")
PROBED = 25  # frames whose mean is classified
VOICE = "narrows.evaluation.metrics.speaker_similarity:embedding"
MIN_RECORDINGS = 4  # of a speaker that is classified
VAE = {"dim": 32, "width": 48, "fine": 16}


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("experiment", choices=("ordered", "aligned", "equivariant", "discrete"))
    parser.add_argument("--train", type=Path, required=True, help="folder of media for training")
    parser.add_argument("--valid", type=Path, required=True, help="folder of media for the results")
    parser.add_argument("--labels", type=Path, help="aligned: table of speakers")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default 3)")
    parser.add_argument("--steps", type=int, default=1000, help="training steps of a Re-Bottleneck (default 1000)")
    parser.add_argument("--crops", type=int, default=1024, help="crops whose latents are made (default 1024)")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "seeds", "steps", "crops")
    if arguments.experiment == "aligned" and arguments.labels is None:
        parser.error("expected --labels for aligned")
    experiment: Callable[[Any, int, Path], list[dict[str, float | str]]] = globals()[arguments.experiment]
    found = defaultdict[str, list[dict[str, float]]](list)
    for seed in range(arguments.seeds):
        with TemporaryDirectory() as folder:
            for row in experiment(arguments, seed, Path(folder)):
                emit({"experiment": arguments.experiment, "seed": seed, **row})
                name = " ".join(str(value) for value in row.values() if isinstance(value, str))
                found[name].append({key: value for key, value in row.items() if not isinstance(value, str)})
    rows: list[dict[str, object]] = []
    for name, runs in found.items():
        means = mean_and_std(runs)
        emit({"experiment": arguments.experiment, "row": name, **means})
        rows.append({"row": name} | {key: f"{v['mean']:.4g} ± {v['std'] or 0:.2g}" for key, v in means.items()})
    show(rows, list(dict.fromkeys(key for row in rows for key in row)))


# --- training ---


def trained(arguments: Any, seed: int, folder: Path, **settings: Any) -> tuple[Any, LatentShards, dict[str, float]]:
    """A tokenizer with a Re-Bottleneck, the latents that it was trained on, and what it cost."""
    data = LatentData(arguments.train, arguments.valid, arguments.crops, valid_crops=64)
    schedule = Schedule(arguments.steps, 100, 0.5, validate_every=arguments.steps, ema_decay=0.995)
    recipe = rebottleneck(**{"data": data, "schedule": schedule, "seed": seed, **settings})
    begin = time.perf_counter()
    with redirect_stdout(sys.stderr):
        tokenizer = narrows.load(train(recipe, folder))
    cost = {
        "seconds": time.perf_counter() - begin,
        "parameters": float(sum(p.numel() for p in recipe.codec.parameters())),
        "base_parameters": float(sum(p.numel() for p in recipe.base.codec.parameters())),
    }
    return tokenizer, LatentShards(folder / "latents" / "train", recipe.base.codec, recipe.transforms), cost


def vectors_of(shards: LatentShards, count: int = 512) -> Tensor:
    """Latents (N, D) float64 of the first crops."""
    z = torch.stack([shards.example(index).z for index in range(min(count, len(shards)))])
    return z.movedim(1, -1).flatten(0, -2).double()


def principal(vectors: Tensor) -> tuple[Tensor, Tensor, float]:
    """Mean (D,), components (D, D) with the largest first, and the mean variance of the channels."""
    mean = vectors.mean(0)
    covariance = (vectors - mean).T @ (vectors - mean) / len(vectors)
    return mean, torch.linalg.eigh(covariance)[1].flip(1), float(covariance.diagonal().mean())


def paths_of(folder: Path) -> list[Path]:
    """The recordings of a folder, sorted."""
    files = AudioFiles(folder, 16_000)
    return sorted(files.path(index) for index in range(len(files)))


def recordings(folder: Path, rate: int, count: int) -> list[Tensor]:
    """The first recordings (T,) of a folder, at most 8 seconds of each."""
    found = []
    for path in paths_of(folder)[:count]:
        read = audio.read(path)
        if read.sample_rate != rate:
            fail(f"expected recordings of {rate} Hz, got {read.sample_rate} in {path}")
        found.append(torch.from_numpy(read.samples.mean(0)[: 8 * rate]))
    return found


# --- ordered ---


@torch.inference_mode()
def ordered(arguments: Any, seed: int, folder: Path) -> list[dict[str, float | str]]:
    """Error of latents relative to their variance, PESQ and mel distance, by the number of channels kept."""
    with torch.inference_mode(False):
        tokenizer, shards, cost = trained(arguments, seed, folder, structure=("ordered",))
    base = narrows.load("speech")
    assert isinstance(base.codec.bottleneck, FSQ)
    mean, components, variance = principal(vectors_of(shards))
    z = torch.stack([shards.example(index).z for index in range(min(512, len(shards)))])
    statistics = Statistics.of(z)
    root = square_root(decoder_metric(base, z[:METRIC_CROPS], statistics, None))
    weighted = torch.linalg.eigh(root @ statistics.covariance @ root)[1].flip(1)
    signals = [x[: len(x) // 320 * 320] for x in recordings(arguments.valid, base.sample_rate, MAX_RECORDINGS)]
    rows: list[dict[str, float | str]] = [{"method": "training", **cost}]

    def truncated(z: Tensor, k: int) -> Tensor:
        bottleneck = base.codec.bottleneck
        scalars = bottleneck._values(bottleneck._bounded(z).round())  # (B, F, scalars)
        scalars[..., k:] = 0
        return bottleneck.project_out(scalars).movedim(-1, 1)

    def projected(z: Tensor, k: int) -> Tensor:
        vectors = base.codec.bottleneck(z).latents.movedim(1, -1).double() - mean
        return (vectors @ components[:, :k] @ components[:, :k].T + mean).float().movedim(-1, 1)

    def projected_as_decoded(z: Tensor, k: int) -> Tensor:
        vectors = (base.codec.bottleneck(z).latents.movedim(1, -1).double() - mean) @ root
        vectors = vectors @ weighted[:, :k] @ weighted[:, :k].T @ torch.linalg.inv(root)
        return (vectors + mean).float().movedim(-1, 1)

    def restructured(z: Tensor, k: int) -> Tensor:
        codec = tokenizer.codec
        y = codec.encoder.inner(base.codec.bottleneck(z).latents)
        return codec.decoder.inner(codec.bottleneck.decode(codec.bottleneck.encode(y)[:, :k]))

    methods = {
        "base truncated": truncated,
        "PCA": projected,
        "PCA by the decoder": projected_as_decoded,
        "Re-Bottleneck": restructured,
    }
    for k in KEPT:
        for name, method in methods.items():
            errors, qualities, distances = [], [], []
            for x in signals:
                z = base.codec.analyze(x[None, None])
                latents = method(z, k)
                errors.append(float((latents - base.codec.bottleneck(z).latents).square().mean()) / variance)
                y = base.codec.synthesize(latents)[0]
                pair = [audio.Audio(each.numpy(), base.sample_rate) for each in (x[None], y)]
                qualities.append(pesq_wb(*pair))
                distances.append(mel_distance(*pair))
            row = {"error": np.mean(errors), "pesq": np.mean(qualities), "mel": np.mean(distances)}
            rows.append({"method": name, "kept": str(k), **{key: float(value) for key, value in row.items()}})
    return rows


# --- aligned ---


def aligned(arguments: Any, seed: int, folder: Path) -> list[dict[str, float | str]]:
    """Speakers by a linear classifier, and the next frame by a small network, on latents of the base and aligned."""
    by_speaker = defaultdict[str, list[Path]](list)
    with arguments.labels.open(newline="") as file:
        groups = {row["file"]: row["group"] for row in csv.DictReader(file)}
    for path in paths_of(arguments.train):
        group = next((group for name, group in groups.items() if path.as_posix().endswith(name)), None)
        if group is not None and not group.startswith("crowd"):
            by_speaker[group].append(path)
    chosen = {name: paths for name, paths in sorted(by_speaker.items()) if len(paths) >= MIN_RECORDINGS}
    held_out = {path for paths in chosen.values() for path in paths[::2]}
    manifest = folder / "train.csv"
    rows = [str(path.resolve()) for path in paths_of(arguments.train) if path not in held_out]
    manifest.write_text("\n".join(["path", *rows]) + "\n")
    data = LatentData(manifest, None, arguments.crops, valid_crops=64)
    tokenizer, shards, _ = trained(
        arguments, seed, folder / "run", structure=("aligned",), data=data, alignment=Alignment(VOICE)
    )
    base = narrows.load("speech")
    mean, components, _ = principal(vectors_of(shards))

    def of_base(z: Tensor) -> Tensor:
        return ((z.movedim(1, -1).double() - mean) @ components[:, : len(KEPT_ALL)]).float().movedim(-1, 1)

    def of_aligned(z: Tensor) -> Tensor:
        return tokenizer.codec.bottleneck.encode_latents(tokenizer.codec.encoder.inner(z))

    labels = {name: number for number, name in enumerate(chosen)}
    latents: dict[str, list[tuple[Tensor, int, bool]]] = {"base": [], "aligned": []}
    with torch.inference_mode():
        for name, paths in chosen.items():
            for path in paths[:40]:
                x = torch.from_numpy(audio.read(path).samples.mean(0)[: 8 * base.sample_rate])
                z = base.codec.bottleneck(base.codec.analyze(x[None, None, : len(x) // 320 * 320])).latents
                for key, structured in (("base", of_base), ("aligned", of_aligned)):
                    latents[key].append((structured(z)[0], labels[name], path in held_out))
    return [
        {
            "latents": key,
            "speakers": float(len(chosen)),
            "accuracy": probe(found, len(chosen), seed),
            "next_frame": next_frame([z for z, _, _ in found], seed),
        }
        for key, found in latents.items()
    ]


KEPT_ALL = range(48)  # dimensions that the latents of speech really have


def probe(found: Sequence[tuple[Tensor, int, bool]], classes: int, seed: int) -> float:
    """Accuracy of a linear classifier of the mean latents of half a second, on recordings that are not trained on."""
    torch.manual_seed(seed)
    parts = [(part.mean(1), *rest) for z, *rest in found for part in z.split(PROBED, 1) if part.shape[1] == PROBED]
    x = torch.stack([mean for mean, _, _ in parts])
    y = torch.tensor([label for _, label, _ in parts])
    tested = torch.tensor([held_out for _, _, held_out in parts])
    x = (x - x[~tested].mean(0)) / x[~tested].std(0).clamp(min=1e-6)
    layer = nn.Linear(x.shape[1], classes)
    optimizer = torch.optim.Adam(layer.parameters(), 0.01, weight_decay=1e-3)
    for _ in range(500):
        optimizer.zero_grad()
        nn.functional.cross_entropy(layer(x[~tested]), y[~tested]).backward()
        optimizer.step()
    return float((layer(x[tested]).argmax(1) == y[tested]).float().mean())


def next_frame(latents: Sequence[Tensor], seed: int, steps: int = 400) -> float:
    """Relative error of a small recurrent network that predicts the next frame, on other recordings."""
    torch.manual_seed(seed)
    frames = torch.cat(list(latents), 1)
    mean, std = frames.mean(1), frames.std(1).clamp(min=1e-6)
    scaled = [((z.T - mean) / std) for z in latents if z.shape[1] > 65]
    training, testing = scaled[::2], scaled[1::2]
    network, last = nn.GRU(len(mean), 128, batch_first=True), nn.Linear(128, len(mean))
    optimizer = torch.optim.Adam([*network.parameters(), *last.parameters()], 2e-3)

    def error(batch: Tensor) -> Tensor:
        return (last(network(batch[:, :-1])[0]) - batch[:, 1:]).square().mean()

    rng = np.random.default_rng(seed)
    for _ in range(steps):
        picked = [training[i] for i in rng.integers(len(training), size=16)]
        batch = torch.stack([z[(at := int(rng.integers(len(z) - 64))) : at + 65] for z in picked])
        optimizer.zero_grad()
        error(batch).backward()
        optimizer.step()
    with torch.no_grad():
        return float(torch.stack([error(z[None, :65]) for z in testing]).mean())


# --- equivariant ---


def equivariant(arguments: Any, seed: int, folder: Path) -> list[dict[str, float | str]]:
    """Error of T(z(x)) against z(T(x)), with T learned in the same way on latents of the base and on those trained."""
    tokenizer, shards, _ = trained(
        arguments, seed, folder, structure=("equivariant",), transforms=TRANSFORMS, equivariance_weight=0.3
    )
    base = narrows.load("speech")
    transforms = [transform("audio", name, base.sample_rate, base.codec.stride) for name in TRANSFORMS]
    mean, components, _ = principal(vectors_of(shards))
    data = LatentData(arguments.valid, None)
    crops = media_crops(base, media_files(base, arguments.valid), data, 192, (seed, 77))
    tested = Preparation(base, crops, transforms).run(folder / "tested")

    def of_base(z: Tensor) -> Tensor:
        return ((z.movedim(1, -1).double() - mean) @ components[:, : len(KEPT_ALL)]).float().movedim(-1, 1)

    def of_trained(z: Tensor) -> Tensor:
        with torch.no_grad():
            return tokenizer.codec.bottleneck.encode_latents(tokenizer.codec.encoder.inner(z))

    with torch.no_grad():
        z = torch.stack([tested.example(i).z for i in range(len(tested))])
        decoded = tokenizer.codec.decoder.inner(tokenizer.codec.bottleneck.decode_latents(of_trained(z)))
        loss = float((decoded - z).square().mean() / z.var((0, 2)).mean())
    rows: list[dict[str, float | str]] = [{"latents": "reconstruction", "error": loss}]
    for place, each in enumerate(transforms):
        for key, structured in (("base", of_base), ("Re-Bottleneck", of_trained)):
            torch.manual_seed(seed)
            module = EquivarianceLoss(each, len(KEPT_ALL))
            fitted(module, shards, place, structured, 400)
            with torch.no_grad():
                pairs = [pair(tested, i, place, structured) for i in range(len(tested))]
                identity = EquivarianceLoss(each, len(KEPT_ALL))
                batch = [torch.stack(parts) for parts in zip(*pairs, strict=True)]
                row = {"error": float(module(*batch)), "without_map": float(identity(*batch))}
                row["whitened"] = whitened_error(module.predict(batch[0], batch[2]), batch[1])
            rows.append({"latents": key, "transform": each.name, **row})
    return rows


def whitened_error(predicted: Tensor, latents: Tensor) -> float:
    """Error of predicted latents (B, d, *grid) relative to their covariance: all directions count alike."""
    errors, vectors = ((each.movedim(1, -1).flatten(0, -2)).double() for each in (predicted - latents, latents))
    covariance = vectors.T.cov(correction=0)
    covariance += 1e-6 * covariance.diagonal().mean() * torch.eye(len(covariance))
    return float((errors * torch.linalg.solve(covariance, errors.T).T).sum() / errors.numel())


def pair(
    shards: LatentShards, index: int, place: int, structured: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents of a crop and of its transform, and the parameters."""
    example = shards.example(index, place)
    assert example.transformed is not None
    assert example.parameters is not None
    return structured(example.z[None])[0], structured(example.transformed[None])[0], example.parameters


def fitted(
    module: EquivarianceLoss, shards: LatentShards, place: int, structured: Callable[[Tensor], Tensor], steps: int
) -> None:
    """Train the map of latents of a transform."""
    if module.map is None:
        return
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = np.random.default_rng(0)
    pairs = [pair(shards, int(i), place, structured) for i in rng.permutation(len(shards))[:512]]
    for _ in range(steps):
        batch = [pairs[i] for i in rng.integers(len(pairs), size=16)]
        optimizer.zero_grad()
        module(*(torch.stack(parts) for parts in zip(*batch, strict=True))).backward()
        optimizer.step()
        schedule.step()


# --- discrete ---


def discrete(arguments: Any, seed: int, folder: Path) -> list[dict[str, float | str]]:
    """Bits per pixel of streams and PSNR: a VAE, FSQ between its latents, and FSQ from the start."""
    groups, rows = 4, list[dict[str, float | str]]()
    data = ImageData(arguments.train, arguments.valid, crop_size=128, batch_size=8)
    schedule = Schedule(600, 50, 0.5, validate_every=600, ema_decay=0.99)

    def codec(bottleneck: Gaussian | FSQ) -> Codec:
        torch.manual_seed(seed)
        return Codec(LappedEncoder(**VAE, depth=1), bottleneck, LappedDecoder(**VAE, skip=8, depth=1))

    bottlenecks = {
        "VAE": Gaussian(32, 32, narrows.codecs.Rounding()),
        "FSQ from the start": FSQ(32, FSQ_LEVELS, groups),
    }
    for name, bottleneck in bottlenecks.items():
        recipe = ImageTokenizerRecipe(
            name="small",
            codec=codec(bottleneck),
            data=data,
            losses={"l1": (1.0, nn.L1Loss()), "perceptual": (1.0, LaplacianPyramidLoss())},
            bottleneck_loss_weights={"kl": 1e-5},
            klt_initialization=name != "VAE",
            optimizer=AdamW(lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0),
            schedule=schedule,
            seed=seed,
        )
        begin = time.perf_counter()
        with redirect_stdout(sys.stderr):
            path = train(recipe, folder / name.split()[0])
        rows.append({"codec": name, **image_quality(narrows.load(path), arguments.valid)})
        rows[-1]["seconds"] = time.perf_counter() - begin
    tokenizer, _, cost = trained(
        arguments,
        seed,
        folder / "inner",
        base=str(folder / "VAE" / "checkpoint"),
        structure=("discrete",),
        network=Network(codebooks=groups),
        data=LatentData(arguments.train, None, arguments.crops, valid_crops=64, crop_size=128),
    )
    rows.append({"codec": "VAE + FSQ", **image_quality(tokenizer, arguments.valid), "seconds": cost["seconds"]})
    return rows


def image_quality(tokenizer: Any, folder: Path) -> dict[str, float]:
    """Means over the first 24 images of the bits per pixel of streams and of the PSNR in dB."""
    found = []
    for path in image_files(folder)[:24]:
        pixels = image.read(path).pixels
        tokens = tokenizer.encode(pixels)
        decoded = tokenizer.decode_signal(tokens).pixels
        error = np.square(pixels.astype(float) - decoded.astype(float)).mean()
        bits = 8 * len(tokenizer.compress(tokens)) / (pixels.shape[1] * pixels.shape[2])
        found.append((bits, 10 * np.log10(255**2 / error)))
    bits_per_pixel, psnr = np.mean(found, 0)
    return {"bits_per_pixel": float(bits_per_pixel), "psnr": float(psnr)}


if __name__ == "__main__":
    run(main)
