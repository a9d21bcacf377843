"""Entropies of soft binary codes whose bits are independent, without a table of positions × codes.

A soft code of `bits` independent bits has a probability for each of 2^bits codes, but it factorises:

- the entropy of one position is the sum of its bits' entropies (Zhao et al., arXiv 2406.07548);
- the mean over positions of the codes' probabilities is one product of two matrices. With the bits in two halves,
  P(code) = A(low half)·B(high half), and the mean of A ⊗ B over N positions is Aᵀ B / N, of N × 2^(bits / 2) matrices.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

LARGEST_BLOCK = 18  # bits whose joint distribution is held, a quarter of a million numbers
PIECE = 1 << 21  # numbers of a table at a time; they are computed anew in the backward pass
SMALLEST = 1e-30  # probability that keeps a logarithm finite


def sample_entropy(logits: Tensor) -> Tensor:
    """Mean entropy, in nats, of the soft codes with logits (N, K, bits) of their bits."""
    size = logits.abs()
    return (nn.functional.softplus(-size) + size * torch.sigmoid(-size)).sum(-1).mean()


def code_entropy(logits: Tensor) -> Tensor:
    """Entropy, in nats, of the mean over N of soft codes (N, K, bits), mean over K.

    Exact up to 18 bits. Of more, the bits are cut into equal blocks of at most 18 whose entropies are added: an upper
    bound (BSQ's grouping), reached where the blocks are independent.
    """
    blocks = -(-logits.shape[-1] // LARGEST_BLOCK)
    total = logits.new_zeros(())
    for block in logits.tensor_split(blocks, -1):
        rows = max(1, PIECE // (block.shape[1] << (block.shape[2] + 1) // 2))
        mean = logits.new_zeros(())
        for some in block.split(rows):
            mean = mean + _summed(some) / len(block)
        total = total + torch.special.entr(mean.clamp(min=SMALLEST)).sum() / logits.shape[1]
    return total


def _summed(rows: Tensor) -> Tensor:
    if torch.is_grad_enabled() and rows.requires_grad:
        return checkpoint(_joint, rows, use_reentrant=False, preserve_rng_state=False)
    return _joint(rows)


def _joint(rows: Tensor) -> Tensor:
    """Sum (K, 2^low, 2^high) over n of the codes' probabilities, from logits (n, K, low + high)."""
    low, high = rows.tensor_split(2, -1)
    with torch.autocast(rows.device.type, enabled=False):
        return torch.einsum("nka,nkb->kab", _table(low), _table(high))


def _table(logits: Tensor) -> Tensor:
    """Probabilities (n, K, 2^bits) of all codes from logits (n, K, bits)."""
    table = logits.new_ones(*logits.shape[:-1], 1)
    for one, zero in zip(torch.sigmoid(logits).unbind(-1), torch.sigmoid(-logits).unbind(-1), strict=True):
        table = torch.cat((table * zero.unsqueeze(-1), table * one.unsqueeze(-1)), -1)
    return table
