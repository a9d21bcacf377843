"""Train a small GPT on token shards, and generate audio with it.

    codec tokenize RECORDINGS -m speech -o tokens/
    python examples/train_gpt.py tokens/ --steps 1000

A sequence is the ids of one recording between `begin` and `end`, with all codebooks of a frame one after another.
"""

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import narrows
from narrows.datasets import TokenData, TokenStream, load
from narrows.datasets.reader import vocabulary_of


class GPT(nn.Module):
    """Ids (B, N) to logits (B, N, V) of the next id at each position."""

    def __init__(self, size: int, length: int, width: int = 128, depth: int = 2) -> None:
        super().__init__()
        self.ids, self.positions = nn.Embedding(size, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(
            width, width // 32, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.out = nn.Linear(width, size)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.ids(ids) + self.positions.weight[: ids.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1], ids.device)
        return self.out(self.layers(x, mask, is_causal=True))


def batches(data: TokenData[Tensor], length: int, size: int) -> Iterator[Tensor]:
    """Ids (B, N + 1) of the beginnings of recordings, epoch after epoch."""
    vocabulary, stream = vocabulary_of(data.info), TokenStream(data)

    def padded(items: list[Tensor]) -> Tensor:
        cut = [vocabulary.add_begin_end(ids)[: length + 1] for ids in items]
        return nn.utils.rnn.pad_sequence(cut, batch_first=True, padding_value=vocabulary.padding)

    epoch = 0
    while len(data):
        stream.set_epoch(epoch)
        yield from DataLoader(stream, size, collate_fn=padded)
        epoch += 1


@torch.inference_mode()
def sample(gpt: GPT, begin: int, codebooks: tuple[range, ...], frames: int) -> Tensor:
    """Ids (N,) of new frames; at each position only ids of the codebook of that position are sampled."""
    ids = torch.tensor([[begin]])
    for position in range(frames * len(codebooks)):
        allowed = codebooks[position % len(codebooks)]
        logits = gpt(ids)[0, -1, allowed.start : allowed.stop]
        ids = torch.cat([ids, allowed.start + torch.multinomial(logits.softmax(-1), 1)[None]], 1)
    return ids[0, 1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", help="folder that codec tokenize made")
    parser.add_argument("--model", help="model to decode with [the one that the shards name]")
    parser.add_argument("--out", default="sampled.wav", help="audio file to write")
    parser.add_argument("--steps", type=int, default=200, help="number of training steps")
    parser.add_argument("--length", type=int, default=512, help="ids per sequence")
    parser.add_argument("--batch", type=int, default=8, help="sequences per step")
    parser.add_argument("--frames", type=int, default=50, help="latent frames to generate at the end")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    data = load(arguments.shards, ids="interleaved")
    vocabulary = vocabulary_of(data.info)
    gpt = GPT(vocabulary.size, max(arguments.length, arguments.frames * data.info.depth))
    optimizer = torch.optim.AdamW(gpt.parameters(), 1e-3)
    steps = zip(range(arguments.steps), batches(data, arguments.length, arguments.batch), strict=False)
    for step, ids in steps:
        logits, target = gpt(ids[:, :-1]), ids[:, 1:]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=vocabulary.padding)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % max(1, arguments.steps // 10) == 0:
            print(f"step {step}  loss {loss.item():.3f} nats per id", flush=True)

    ranges = [range(first, first + size) for first, size in zip(vocabulary.offsets, vocabulary.sizes, strict=True)]
    ids = sample(gpt.eval(), vocabulary.begin, tuple(ranges), arguments.frames)
    tokens = data.unflatten(ids, "interleaved")
    tokenizer = narrows.load(arguments.model or data.info.model)
    tokenizer.decode_file(tokens, arguments.out, overwrite=True)
    print(f"{tokens.extent.seconds:.2f} s → {arguments.out}")


if __name__ == "__main__":
    main()
