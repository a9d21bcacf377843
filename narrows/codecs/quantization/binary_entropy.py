"""Entropies of soft binary codes with independent bits, without a table of positions × codes.

A soft code gives a probability to each of the 2^bits codes. It factorises over the bits:

- the entropy of one position is the sum of the entropies of its bits (Zhao et al., arXiv 2406.07548);
- the mean over positions of the codes' probabilities is a product of two matrices. With the bits in two halves,
  P(code) = A(low half)·B(high half), and the mean of A ⊗ B over N positions is Aᵀ B / N, of N × 2^(bits / 2) matrices.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

MAX_BLOCK_BITS = 18  # bits whose joint distribution is stored: 2^18 numbers
CHUNK = 1 << 21  # numbers of a table at a time; they are recomputed in the backward pass
MIN_PROBABILITY = 1e-30  # keeps logarithms finite


def sample_entropy(logits: Tensor) -> Tensor:
    """Entropies (...,), in nats, of soft codes, from the logits (..., bits) of their bits."""
    magnitude = logits.abs()
    return (nn.functional.softplus(-magnitude) + magnitude * torch.sigmoid(-magnitude)).sum(-1)


def code_entropy(logits: Tensor) -> Tensor:
    """Entropy, in nats, of the mean soft code over N positions, mean over K codebooks.

    Exact up to 18 bits. More bits are split into equal blocks of at most 18 whose entropies are added: an upper bound
    (BSQ's grouping), exact if the blocks are independent.

    Args:
        logits: (N, K, bits).
    """
    blocks = -(-logits.shape[-1] // MAX_BLOCK_BITS)
    total = logits.new_zeros(())
    for block in logits.tensor_split(blocks, -1):
        rows = max(1, CHUNK // (block.shape[1] << (block.shape[2] + 1) // 2))
        mean = logits.new_zeros(())
        for chunk in block.split(rows):
            mean = mean + _checkpointed(chunk) / len(block)
        total = total + torch.special.entr(mean.clamp(min=MIN_PROBABILITY)).sum() / logits.shape[1]
    return total


def _checkpointed(rows: Tensor) -> Tensor:
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
