"""Train a GPT on the codes of images, whichever image tokenizer made them, and generate images with it.

    codec tokenize PICTURES --model MODEL --out tokens/ --size 256
    python examples/train_image_gpt.py tokens/ --model MODEL --steps 1000 --out samples.png

An image is a sequence of ids: row by row, and all codebooks of a position before the next position (ImageGPT, Chen et
al. 2020). B begin; each id enters with the row, column and codebook of the id that it predicts:

    enters     B  00 01 02 ... 10 11 ...        All images need the same size. A twentieth of them is held out for
    predicted  00 01 02 03 ... 11 12 ...        validation. Bits per token are the mean over the ids.
"""

import argparse
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import narrows
from narrows.datasets import Example, TokenData, TokenStream, load

MAX_IDS = 8192  # of an image
MAX_VALID = 256  # images for validation
Item = Example[narrows.Tokens | narrows.Latents]
Cache = list[list[Tensor]]  # keys and values (B, heads, N, dim) of each block; none before the first id


class Block(nn.Module):
    """A layer of the transformer: attention, then a network per position."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.heads = max(n for n in range(1, max(1, width // 64) + 1) if width % n == 0)
        self.dropout = nn.Dropout(dropout)
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, past: list[Tensor] | None) -> Tensor:
        """x (B, N, D); the keys and values of the past are those before x, and take up those of x."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if past:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=not past)
        if past is not None:
            past[:] = k, v
        x = x + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.network(self.norm2(x)))


class GPT(nn.Module):
    """B and ids (B, N) of images of a grid (H, W) to logits (B, N, V) of the next ids; -inf for other codebooks."""

    positions: Tensor
    possible: Tensor

    def __init__(self, vocabulary: narrows.Vocabulary, grid: tuple[int, ...], options: argparse.Namespace) -> None:
        super().__init__()
        width, self.begin, shape = options.width, vocabulary.begin, (*grid, len(vocabulary.sizes))
        first, size = (torch.tensor(numbers)[:, None] for numbers in (vocabulary.offsets, vocabulary.sizes))
        ids = torch.arange(vocabulary.size)
        self.register_buffer("positions", torch.ones(shape).nonzero().T)  # row, column and codebook of each id, (3, N)
        self.register_buffer("possible", (ids >= first) & (ids < first + size))  # (K, V)
        self.ids, self.dropout = nn.Embedding(vocabulary.size, width), nn.Dropout(options.dropout)
        self.places = nn.ModuleList(nn.Embedding(size, width) for size in shape)
        self.blocks = nn.ModuleList(Block(width, options.dropout) for _ in range(options.depth))
        self.norm, self.out = nn.RMSNorm(width), nn.Linear(width, vocabulary.size, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids: Tensor, start: int = 0, cache: Cache | None = None) -> Tensor:
        """A cache holds what the `start` ids before `ids` gave; then `ids` is one id."""
        places = self.positions[:, start : start + ids.shape[1]]
        x = self.dropout(self.ids(ids) + sum(table(of) for table, of in zip(self.places, places, strict=True)))
        for index, block in enumerate(self.blocks):
            x = block(x, cache[index] if cache else None)
        return self.out(self.norm(x)).float().masked_fill(~self.possible[places[2]], -torch.inf)


def loss_bits(gpt: GPT, ids: Tensor) -> Tensor:
    """Mean bits per token of images (B, N)."""
    begin = torch.full_like(ids[:, :1], gpt.begin)
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.is_cuda):
        logits = gpt(torch.cat([begin, ids[:, :-1]], 1))
    return F.cross_entropy(logits.flatten(0, 1), ids.flatten()) / math.log(2)


@torch.inference_mode()
def generate(gpt: GPT, number: int, temperature: float, top_k: int, seed: int = 0) -> Tensor:
    """Ids (number, N) of new images."""
    device, cache = gpt.positions.device, Cache([] for _ in gpt.blocks)
    generator, ids = torch.Generator(device).manual_seed(seed), torch.full((number, 1), gpt.begin, device=device)
    for place in range(gpt.positions.shape[1]):
        logits = gpt(ids[:, place:], place, cache)[:, 0] / max(temperature, 1e-6)
        lowest = logits.topk(min(max(top_k, 1), logits.shape[1]), -1).values[:, -1:]
        p = logits.masked_fill(logits < lowest, -torch.inf).softmax(-1)
        ids = torch.cat([ids, torch.multinomial(p, 1, generator=generator)], 1)
    return ids[:, 1:]


def flat(items: Iterable[Item], shape: tuple[int, ...]) -> Tensor:
    """Ids (B, N) of images with codes of a shape (1, K, H, W); other shapes are refused."""
    made = []
    for item in items:
        assert isinstance(item.value, narrows.Tokens)
        if item.value.codes.shape != shape:
            got = tuple(item.value.codes.shape)
            sys.exit(f"expected images of one size, codes {shape}, got {got} of {item.key!r}; tokenize with --size 256")
        made.append(item.value.flatten("raster"))
    return torch.stack(made)


def endless(data: TokenData[Item], held_out: frozenset[str], seed: int) -> Iterator[Item]:
    """The images for training, in another order in each epoch."""
    stream = TokenStream(data, seed)
    for epoch in count():
        stream.set_epoch(epoch)
        yield from (item for item in stream if item.key not in held_out)


def train(gpt: GPT, data: TokenData[Item], shape: tuple[int, ...], options: argparse.Namespace) -> None:
    """Train and print bits per token of the latest batch and of images that are held out."""
    held_out = data.keys[::20]
    images = endless(data, frozenset(held_out), options.seed)
    valid = flat(map(data.by_key, held_out[:MAX_VALID]), shape).to(options.device)
    optimizer = torch.optim.AdamW(gpt.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    for step in range(1, options.steps + 1):
        cosine = 0.5 + 0.5 * math.cos(math.pi * (step - 1) / options.steps)
        optimizer.param_groups[0]["lr"] = options.rate * min(1, step / 100) * cosine
        loss = loss_bits(gpt.train(), flat(islice(images, options.batch), shape).to(options.device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(gpt.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == options.steps:
            with torch.inference_mode():
                held = sum(float(loss_bits(gpt.eval(), part)) * len(part) for part in valid.split(options.batch))
            print(f"step {step}  loss {loss:.3f}, valid {held / len(valid):.3f} bits per token", flush=True)


def save(pictures: list[Image.Image], path: Path) -> None:
    """Write pictures of one size as a grid in one picture."""
    (width, height), columns = pictures[0].size, math.ceil(math.sqrt(len(pictures)))
    grid = Image.new("RGB", (width * columns, height * math.ceil(len(pictures) / columns)))
    for index, picture in enumerate(pictures):
        grid.paste(picture, (index % columns * width, index // columns * height))
    grid.save(path.with_suffix(".part"), "PNG")
    os.replace(path.with_suffix(".part"), path)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", metavar="SHARDS", help="folder that codec tokenize made, with --size")
    parser.add_argument("--model", help="model to decode with [the one that the shards name]")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name, default, meaning in (
        ("out", "samples.png", "picture of the samples"),
        ("steps", 1000, "number of training steps"),
        ("width", 256, "width of the network"),
        ("depth", 4, "number of its layers"),
        ("dropout", 0.1, "fraction of values that are set to 0 in training"),
        ("batch", 16, "images per step"),
        ("rate", 1e-3, "highest learning rate"),
        ("seed", 0, "of weights, order and samples"),
        ("samples", 16, "number of samples"),
        ("temperature", 1.0, "of the samples"),
        ("top-k", 500, "codes that are sampled from"),
        ("device", device, "where to compute"),
    ):
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"{meaning} [%(default)s]")
    options = parser.parse_args(given)
    out, data = Path(options.out), load(options.shards, with_meta=True)
    if out.suffix.lower() != ".png" or not out.absolute().parent.is_dir():
        sys.exit(f"expected a .png file in a folder that exists, got {options.out!r}; change --out")
    if data.info.medium != "image":
        sys.exit(f"expected tokens of images, got tokens of {data.info.medium}")
    if len(data) < 2 or min(options.steps, options.batch, options.samples, options.width, options.depth) < 1:
        sys.exit(f"expected 2 images or more, got {len(data)}, and options of at least 1; see --help")
    tokenizer = narrows.load(options.model or data.info.model)
    tokenizer.check_model(data.info.model, data.info.fingerprint)
    assert isinstance(tokenizer, narrows.ImageTokenizer)
    shape = data.item(0).values.shape  # (1, K, H, W)
    if math.prod(shape) > MAX_IDS:
        sys.exit(f"expected at most {MAX_IDS} codes of an image, got {math.prod(shape)}; give a smaller --size")

    torch.manual_seed(options.seed)
    gpt = GPT(data.vocabulary, shape[2:], options).to(options.device)
    print(f"{sum(p.numel() for p in gpt.parameters()) / 1e6:.1f} million parameters on {options.device}")
    train(gpt, data, shape, options)
    ids = generate(gpt.eval(), options.samples, options.temperature, options.top_k, options.seed).cpu()
    save([tokenizer.decode_image(data.unflatten(x, "raster", inner=shape[3:])) for x in ids], out)
    print(f"{len(ids)} samples → {out}")


if __name__ == "__main__":
    try:
        main()
    except narrows.NarrowsError as error:
        sys.exit(str(error))
