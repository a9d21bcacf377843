"""Parameters that depend on the quality: one row for each of eight qualities, interpolated between them."""

from torch import Tensor

ANCHORS = 8  # qualities with rows of their own
BETWEEN = 8  # quality indices from one anchor to the next
QUALITIES = (ANCHORS - 1) * BETWEEN + 1


def at_quality(table: Tensor, quality_index: Tensor) -> Tensor:
    """Interpolate the rows of a table at quality indices.

    At integer indices both products are exact, as the weights are eighths and tables float32 at most. The sum is
    rounded once, so it is the same on every machine, also where product and sum are fused (which torch.lerp does not
    promise).

    Args:
        table: (8, C).
        quality_index: (B,), 0 to 56.

    Returns:
        (B, C, 1, 1) float64.
    """
    position = quality_index.double() / BETWEEN
    low = position.floor().clamp(0, ANCHORS - 2).long()
    weight = (position - low).unsqueeze(1)
    rows = table.double()[low] * (1 - weight) + table.double()[low + 1] * weight
    return rows.unsqueeze(-1).unsqueeze(-1)
