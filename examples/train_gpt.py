"""Train a small GPT on token shards, and let it make sound.

    codec tokenize RECORDINGS -m speech -o tokens/
    python examples/train_gpt.py tokens/ --steps 1000

A sequence is the ids of one recording between `begin` and `end`, all codebooks of a frame after one another.
"""

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import narrows
from narrows.datasets import TokenData, TokenStream, load
from narrows.datasets.media import write_media
from narrows.datasets.reader import vocabulary_of


class GPT(nn.Module):
    """Ids (B, S) to logits (B, S, V) of the next id at each place."""

    def __init__(self, size: int, length: int, width: int = 128, depth: int = 2) -> None:
        super().__init__()
        self.ids, self.places = nn.Embedding(size, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(
            width, width // 32, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.out = nn.Linear(width, size)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.ids(ids) + self.places.weight[: ids.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1], ids.device)
        return self.out(self.layers(x, mask, is_causal=True))


def batches(data: TokenData[Tensor], length: int, size: int) -> Iterator[Tensor]:
    """Ids (B, S + 1) of the beginnings of recordings, epoch after epoch."""
    vocabulary, stream = vocabulary_of(data.made), TokenStream(data)

    def padded(items: list[Tensor]) -> Tensor:
        cut = [vocabulary.framed(ids)[: length + 1] for ids in items]
        return nn.utils.rnn.pad_sequence(cut, batch_first=True, padding_value=vocabulary.nothing)

    epoch = 0
    while len(data):
        stream.set_epoch(epoch)
        yield from DataLoader(stream, size, collate_fn=padded)
        epoch += 1


@torch.inference_mode()
def sample(gpt: GPT, begin: int, books: tuple[range, ...], frames: int) -> Tensor:
    """Ids (S,) of so many frames: at each place one of the ids that the codebook of that place has."""
    ids = torch.tensor([[begin]])
    for place in range(frames * len(books)):
        allowed = books[place % len(books)]
        logits = gpt(ids)[0, -1, allowed.start : allowed.stop]
        ids = torch.cat([ids, allowed.start + torch.multinomial(logits.softmax(-1), 1)[None]], 1)
    return ids[0, 1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", help="folder that codec tokenize made")
    parser.add_argument("--model", help="what to decode with [the one that the shards name]")
    parser.add_argument("--out", default="sampled.wav")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--length", type=int, default=512, help="of a sequence, in ids")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=50, help="to make in the end")
    given = parser.parse_args()

    torch.manual_seed(0)
    data = load(given.shards, ids="interleaved")
    vocabulary = vocabulary_of(data.made)
    gpt = GPT(vocabulary.size, max(given.length, given.frames * data.made.books))
    optimizer = torch.optim.AdamW(gpt.parameters(), 1e-3)
    for step, ids in zip(range(given.steps), batches(data, given.length, given.batch), strict=False):
        logits, wanted = gpt(ids[:, :-1]), ids[:, 1:]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=vocabulary.nothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % max(1, given.steps // 10) == 0:
            print(f"step {step}  loss {loss.item():.3f} nats an id", flush=True)

    books = [range(first, first + size) for first, size in zip(vocabulary.offsets, vocabulary.sizes, strict=True)]
    ids = sample(gpt.eval(), vocabulary.begin, tuple(books), given.frames)
    tokens = data.unflatten(ids, "interleaved")
    write_media(given.out, tokens, narrows.load(given.model or data.made.model), overwrite=True)
    print(f"{tokens.extent.seconds:.2f} s → {given.out}")


if __name__ == "__main__":
    main()
