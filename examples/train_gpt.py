"""Train a GPT on the codes of recordings, whichever model made them, and generate audio with it.

    codec tokenize RECORDINGS -m speech -o tokens/
    python examples/train_gpt.py tokens/ --steps 1000
    torchrun --nproc-per-node 8 examples/train_gpt.py tokens/ --minutes 60 --width 1024 --depth 16 --batch 32

A recording is a sequence of columns: first its text, a byte in each, then the codes of K codebooks, of which codebook k
is delayed by k columns (MusicGen, Copet et al. 2023). B begin, E end, - padding, which is not predicted:

    text         s  o  -  -  -  -  -  -  -        a column enters the network as the sum of its embeddings,
    codebook 0   -  -  B  00 01 02 E  -  -        one table per row; a head per codebook predicts the next
    codebook 1   -  -  B  -  10 11 12 E  -        column
    codebook 2   -  -  B  -  -  20 21 22 E

The run is kept in a folder: Ctrl-C stops it, the same command continues, and at its end it generates OUT/sample.wav.

While it trains it prints bits per id: the mean over all predicted ids, which are the codes and E. Validation and the
unigram baseline are in bits per code: the mean over the codes alone, by codebook.
"""

import argparse
import math
import os
import signal
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

import narrows
from narrows.datasets import Batch, Collate, Example, TokenData, TokenStream, load
from narrows.tokenizers.ids import flatten_codes

MAX_TEXT = 512  # bytes
MAX_VALID = 512  # items for validation
Item = Example[narrows.Tokens | narrows.Latents]
Cache = list[tuple[Tensor, Tensor]]  # keys and values (B, heads, N, dim) of each block


def columns(text: str, ids: Tensor, vocabulary: narrows.Vocabulary, ends: bool) -> Tensor:
    """Text and ids (K, F) as columns (1 + K, N), see above; without the column of E unless the recording ends."""
    prefix = torch.tensor([*text.encode(errors="replace")[:MAX_TEXT]], dtype=torch.long) + 1
    (codebooks, frames), start = ids.shape, len(prefix) + 1
    made = torch.full((1 + codebooks, start + frames + codebooks - 1 + ends), vocabulary.padding)
    made[0, : len(prefix)] = prefix
    made[1:, start - 1] = vocabulary.begin
    for k in range(codebooks):
        made[1 + k, start + k : start + k + frames] = ids[k]
        if ends:
            made[1 + k, start + k + frames] = vocabulary.end
    return made


class Crops(IterableDataset[Tensor]):
    """Columns of a part of each recording: in training a random part of a random channel, or the beginning with text.

    Args:
        source: a TokenStream, which gives each rank and each worker of a DataLoader other items; or any items.
        vocabulary: of the ids.
        frames: of a part.
        text: name of the metadata with the text; None for no text.
        skipped: keys of recordings that are left out.
        random: whether parts are random.
    """

    def __init__(
        self,
        source: Iterable[Item],
        vocabulary: narrows.Vocabulary,
        frames: int,
        text: str | None,
        skipped: frozenset[str] = frozenset(),
        random: bool = False,
    ) -> None:
        self.source, self.vocabulary, self.frames, self.text = source, vocabulary, frames, text
        self.skipped, self.random = skipped, random

    def __iter__(self) -> Iterator[Tensor]:
        for example in self.source:
            if example.key in self.skipped:
                continue
            assert isinstance(example.value, narrows.Tokens)
            codes = example.value.codes  # (S, K, F)
            channel = int(torch.randint(len(codes), ())) if self.random else 0
            last = max(0, codes.shape[2] - self.frames)  # at which a part may begin
            start = int(torch.randint(last + 1, ())) if self.random and self.text is None else 0
            part = codes[channel : channel + 1, :, start : start + self.frames]
            text = str(example.meta.get(self.text) or "") if self.text else ""
            ids = flatten_codes(part, "parallel", self.vocabulary)
            yield columns(text, ids, self.vocabulary, start + self.frames >= codes.shape[2])


class Block(nn.Module):
    """A layer of the transformer: attention with rotary positions (Su et al. 2021), then a network per column."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, rotation: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, N, D), and keys and values of all columns until now."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotated(q, rotation), rotated(k, rotation)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=past is None)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.network(self.norm2(x)), k, v


def rotated(x: Tensor, rotation: Tensor) -> Tensor:
    """Each pair of values of x (B, heads, N, dim) rotated by the angles whose cosines and sines are given."""
    first, second = x.chunk(2, -1)
    cos, sin = rotation.to(x.dtype)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


class GPT(nn.Module):
    """Columns (B, 1 + K, N) to logits (B, K, N, V) of the next column at each position."""

    def __init__(self, codebooks: int, size: int, width: int, depth: int) -> None:
        super().__init__()
        heads = max(1, width // 64)
        self.dim, self.codebooks, self.size = width // heads, codebooks, size
        self.tables = nn.ModuleList([nn.Embedding(257, width), *(nn.Embedding(size, width) for _ in range(codebooks))])
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.out = nn.RMSNorm(width), nn.Linear(width, codebooks * size, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        """A cache holds the columns before `ids`, of which then only one is allowed, and takes up these."""
        start = cache[0][0].shape[2] if cache else 0
        x = torch.stack([table(ids[:, row]) for row, table in enumerate(self.tables)]).sum(0)
        rates = 10_000 ** (-torch.arange(0, self.dim, 2, device=ids.device) / self.dim)
        angles = torch.arange(start, start + ids.shape[2], device=ids.device)[:, None] * rates
        rotation = torch.stack([angles.cos(), angles.sin()])
        past, found = list(cache or []), Cache()
        for index, block in enumerate(self.blocks):
            x, k, v = block(x, rotation, past[index] if past else None)
            found.append((k, v))
        if cache is not None:
            cache[:] = found
        logits: Tensor = self.out(self.norm(x))
        return logits.view(*logits.shape[:2], self.codebooks, self.size).transpose(1, 2)


def losses(gpt: nn.Module, ids: Tensor, vocabulary: narrows.Vocabulary) -> tuple[Tensor, Tensor]:
    """Bits of the predicted ids (B, K, N - 1), and these ids; 0 bits for padding and B."""
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.is_cuda):
        logits = gpt(ids[:, :, :-1])
    target = ids[:, 1:, 1:]
    nats = F.cross_entropy(logits.float().movedim(3, 1), target, reduction="none")
    return nats * (target > vocabulary.begin) / math.log(2), target


def report(name: str, bits: Tensor) -> None:
    """Print the bits per code of each codebook."""
    print(f"{name}  {bits.mean():.3f} bits per code; by codebook {' '.join(f'{x:.3f}' for x in bits)}", flush=True)


@torch.no_grad()
def validate(gpt: GPT, batches: Iterable[Batch], vocabulary: narrows.Vocabulary, device: torch.device) -> Tensor:
    """Bits per code of each codebook, (K,), without the ends."""
    total = torch.zeros(gpt.codebooks, dtype=torch.float64)
    count = torch.zeros_like(total)
    for batch in batches:
        bits, target = losses(gpt, batch.ids.to(device), vocabulary)
        codes = target > vocabulary.end
        total += (bits * codes).sum((0, 2)).double().cpu()
        count += codes.sum((0, 2)).cpu()
    return total / count


def unigram(training: Iterable[Tensor], validation: Iterable[Tensor], vocabulary: narrows.Vocabulary) -> Tensor:
    """Bits per code (K,) of validation data with the frequencies of codes in training data: a baseline."""
    rows, first = len(vocabulary.sizes), vocabulary.offsets[0]
    counts = [torch.zeros(rows, vocabulary.size, dtype=torch.float64) for _ in range(2)]
    for of_part, part in zip(counts, (training, validation), strict=True):
        for ids in part:
            of_part.scatter_add_(1, ids[1:], torch.ones(ids[1:].shape, dtype=torch.float64))
    known, seen = (of_part[:, first:] for of_part in counts)
    bits = -torch.log2((known + 1) / (known + 1).sum(1, keepdim=True))
    return (seen * bits).sum(1) / seen.sum(1)


@torch.inference_mode()
def generate(
    gpt: GPT,
    vocabulary: narrows.Vocabulary,
    text: str,
    frames: int,
    temperature: float,
    top_k: int,
    seed: int = 0,
    cached: bool = True,
) -> Tensor:
    """Ids (K, F) of at most `frames` frames after a text; fewer if the model ends them."""
    device, codebooks = next(gpt.parameters()).device, gpt.codebooks
    generator = torch.Generator(device).manual_seed(seed)
    possible = torch.zeros(codebooks, vocabulary.size, dtype=torch.bool, device=device)
    for k, (first, size) in enumerate(zip(vocabulary.offsets, vocabulary.sizes, strict=True)):
        possible[k, first : first + size] = True
    ids = columns(text, torch.empty(codebooks, 0, dtype=torch.long), vocabulary, False)
    ids = ids[None, :, : ids.shape[1] - codebooks + 1].to(device)  # until B
    start, column, ended, cache = ids.shape[2], 0, False, Cache()
    while column < frames + codebooks - 1:
        logits = gpt(ids[:, :, -1:] if cache else ids, cache)[0, :, -1] if cached else gpt(ids)[0, :, -1]
        possible[0, vocabulary.end] = column > 0
        logits = logits.float().masked_fill(~possible, -torch.inf) / max(temperature, 1e-6)
        lowest = logits.topk(min(max(top_k, 1), logits.shape[1]), -1).values[:, -1:]
        sampled = torch.multinomial(logits.masked_fill(logits < lowest, -torch.inf).softmax(-1), 1, generator=generator)
        new = ids.new_full((1, 1 + codebooks, 1), vocabulary.padding)
        for k in range(codebooks):
            if k <= column < k + frames:
                new[0, 1 + k] = sampled[k]
            elif ended and column == k + frames:
                new[0, 1 + k] = vocabulary.end
        if column < frames and int(new[0, 1]) == vocabulary.end:
            frames, ended = column, True
        ids, column = torch.cat([ids, new], 2), column + 1
    return torch.stack([ids[0, 1 + k, start + k : start + k + frames] for k in range(codebooks)])


class Run:
    """The state of training, which a checkpoint keeps.

    Args:
        path: of the checkpoint; if it exists, its run is continued.
        gpt: the model, on its device.
        facts: that a checkpoint of the same run has in common with this one.
        world: number of processes.
    """

    def __init__(self, path: Path, gpt: GPT, facts: dict[str, Any], world: int) -> None:
        self.path, self.gpt, self.facts, self.world = path, gpt, facts, world
        self.optimizer = torch.optim.AdamW(gpt.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
        self.step, self.epoch, self.seconds, self.interrupted = 0, 0, 0.0, False
        if self.path.exists():
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            stored = state["facts"]
            other = [name for name in sorted({*stored, *facts}) if stored.get(name) != facts.get(name)]
            if other:
                was, got = (", ".join(f"{name} {of.get(name)!r}" for name in other) for of in (stored, facts))
                sys.exit(f"expected {was}, as in {path}, got {got}; give the same options or another --out")
            gpt.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.epoch, self.seconds = state["step"], state["epoch"] + 1, state["seconds"]
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, frame: object) -> None:
        """Stop after this step; a second signal stops at once."""
        self.interrupted = True
        signal.signal(number, signal.SIG_DFL)

    def save(self) -> None:
        """Write the checkpoint; the earlier one is kept until this one is complete."""
        state: dict[str, Any] = {"model": self.gpt.state_dict(), "optimizer": self.optimizer.state_dict()}
        state |= {"step": self.step, "epoch": self.epoch, "seconds": self.seconds, "facts": self.facts}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, self.path.with_suffix(".part"))
        os.replace(self.path.with_suffix(".part"), self.path)

    def agreed(self, fraction: float) -> tuple[float, bool]:
        """The largest fraction done and whether to stop, of all processes, which must leave the loop together."""
        state = torch.tensor([fraction, float(self.interrupted)], device=next(self.gpt.parameters()).device)
        if self.world > 1:
            distributed.all_reduce(state, distributed.ReduceOp.MAX)
        return float(state[0]), bool(state[1])


def train(
    arguments: argparse.Namespace, run: Run, data: TokenData[Item], vocabulary: narrows.Vocabulary, rank: int
) -> bool:
    """Train until the end or a signal; whether the end was reached. Process 0 prints, validates and saves."""
    device, collate = next(run.gpt.parameters()).device, Collate(vocabulary)
    valid, held_out = data, sorted(data.keys, key=lambda key: zlib.crc32(key.encode()))[: max(1, len(data) // 20)]
    if arguments.valid:
        valid, held_out = load(arguments.valid, with_meta=True), []
        if valid.info != data.info:
            sys.exit(f"expected tokens of {data.info.model} in {arguments.valid}, got tokens of {valid.info.model}")
    if len(data) - len(held_out) < run.world or not len(valid):
        sys.exit(f"expected items for training and validation, got {len(data)}; tokenize more")
    stream = TokenStream(data, arguments.seed, rank, run.world)
    crops = Crops(stream, vocabulary, arguments.frames, arguments.text, frozenset(held_out), random=True)
    items = [valid.by_key(key) for key in (held_out or valid.keys)[:MAX_VALID]]
    validation = Crops(items, vocabulary, arguments.frames, arguments.text)
    held = list(DataLoader(validation, arguments.batch, collate_fn=collate))

    if rank == 0:
        print(f"{sum(p.numel() for p in run.gpt.parameters()) / 1e6:.1f} million parameters on {device}")
        report("unigram", unigram(islice(crops, 2000), validation, vocabulary))

    model: nn.Module = nn.parallel.DistributedDataParallel(run.gpt) if run.world > 1 else run.gpt
    loader = DataLoader(
        crops,
        arguments.batch,
        collate_fn=collate,
        num_workers=arguments.workers,
        persistent_workers=arguments.workers > 0,
        pin_memory=device.type == "cuda",
    )

    def batches() -> Iterator[Batch]:
        steps = -1
        while steps < run.step:
            steps = run.step
            stream.set_epoch(run.epoch)
            yield from loader
            run.epoch += 1
        sys.exit("expected recordings for training in each process, got none; use fewer processes")

    torch.manual_seed(arguments.seed + 1000 * run.epoch + rank)  # of the crops
    begin, told, frames = time.monotonic() - run.seconds, time.monotonic(), 0
    for batch in batches():
        run.seconds = time.monotonic() - begin
        done = run.step / arguments.steps if arguments.minutes is None else run.seconds / 60 / arguments.minutes
        done, interrupted = run.agreed(done)
        if interrupted or done >= 1:
            break
        rate = arguments.rate * min(1, (run.step + 1) / 100) * (0.55 + 0.45 * math.cos(math.pi * done))
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        bits, target = losses(model, batch.to(device, non_blocking=True).ids, vocabulary)
        loss = bits.sum() / (target > vocabulary.begin).sum()
        run.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(run.gpt.parameters(), 1.0)
        run.optimizer.step()
        run.step += 1
        frames += target[:, 0].numel() * run.world
        if rank == 0 and run.step % arguments.print_every == 0:
            speed, told, frames = frames / (time.monotonic() - told), time.monotonic(), 0
            left = run.seconds / 60 * (1 - done) / max(done, 1e-9)
            print(
                f"step {run.step}  loss {loss:.3f} bits per id, {speed:.0f} frames/s, {left:.1f} min left", flush=True
            )
        if rank == 0 and run.step % arguments.valid_every == 0:
            run.save()
            report(f"valid {run.step}", validate(run.gpt, held, vocabulary, device))
    if rank == 0:
        run.save()
        report(f"valid {run.step}", validate(run.gpt, held, vocabulary, device))
    return not interrupted


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", metavar="SHARDS", help="folder that codec tokenize made")
    parser.add_argument("--valid", help="another such folder for validation [a twentieth of the items]")
    parser.add_argument("--out", default="run", help="folder of the checkpoint and the sample [%(default)s]")
    parser.add_argument(
        "--text",
        metavar="COLUMN",
        help="metadata with the text of a recording; each part then begins at the start of the recording, where its "
        "text begins, so what comes after --frames is not learned [no text, random parts]",
    )
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--steps", type=int, default=1000, help="number of training steps [%(default)s]")
    end.add_argument("--minutes", type=float, help="time of training, instead of --steps")
    parser.add_argument("--width", type=int, default=256, help="width of the network [%(default)s]")
    parser.add_argument("--depth", type=int, default=4, help="number of its layers [%(default)s]")
    parser.add_argument("--frames", type=int, default=250, help="frames of a part of a recording [%(default)s]")
    parser.add_argument("--batch", type=int, default=8, help="parts per step and process [%(default)s]")
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate [%(default)s]")
    parser.add_argument("--workers", type=int, default=0, help="processes that read data [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and parts [%(default)s]")
    parser.add_argument("--print-every", type=int, default=10, help="steps between lines [%(default)s]")
    parser.add_argument(
        "--valid-every", type=int, default=250, help="steps between validations, which save [%(default)s]"
    )
    parser.add_argument("--prompt", help="text of the sample, with --text [no text]")
    parser.add_argument("--sample-frames", type=int, default=250, help="largest length of the sample [%(default)s]")
    parser.add_argument("--temperature", type=float, default=0.9, help="of the sample [%(default)s]")
    parser.add_argument("--top-k", type=int, default=100, help="codes that are sampled from [%(default)s]")
    parser.add_argument("--model", help="model to decode with [the one that the shards name]")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where to compute [%(default)s]"
    )
    arguments = parser.parse_args(given)
    if arguments.prompt and not arguments.text:
        sys.exit(f"expected --text with --prompt, got only {arguments.prompt!r}; give --text COLUMN or no prompt")

    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device(arguments.device)
    if world > 1:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
    data = load(arguments.shards, with_meta=True)
    if data.info.medium != "audio":
        sys.exit(f"expected tokens of audio, got tokens of {data.info.medium}")
    if arguments.text and arguments.text not in data.columns:
        sys.exit(f"expected metadata with {arguments.text}, got {', '.join(data.columns) or 'none'}; change --text")
    vocabulary = replace(data.vocabulary, shared=True)
    torch.manual_seed(arguments.seed)
    gpt = GPT(len(vocabulary.sizes), vocabulary.size, arguments.width, arguments.depth).to(device)
    facts = {"tokens": data.info.fingerprint, "width": arguments.width, "depth": arguments.depth}
    facts |= {"frames": arguments.frames, "text": arguments.text, "valid": bool(arguments.valid)}
    facts |= {"codebooks": data.info.depth}
    run = Run(Path(arguments.out) / "checkpoint.pt", gpt, facts, world)
    finished = train(arguments, run, data, vocabulary, rank)
    if rank == 0 and not finished:
        sys.exit(f"stopped at step {run.step}; the same command continues")
    if rank == 0:
        ids = generate(
            gpt, vocabulary, arguments.prompt or "", arguments.sample_frames, arguments.temperature, arguments.top_k
        )
        tokens, wav = data.unflatten(ids.cpu(), "parallel", vocabulary), Path(arguments.out) / "sample.wav"
        narrows.load(arguments.model or data.info.model).decode_file(tokens, wav, overwrite=True)
        print(f"{tokens.extent.seconds:.2f} s → {wav}")
    if world > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    try:
        main()
    except narrows.NarrowsError as error:
        sys.exit(str(error))
