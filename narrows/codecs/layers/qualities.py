"""Numbers that depend on the quality: one row for each of eight qualities, interpolated between them."""

from torch import Tensor

ANCHORS = 8  # qualities with rows of their own
BETWEEN = 8  # steps from one to the next
QUALITIES = (ANCHORS - 1) * BETWEEN + 1


def at_quality(table: Tensor, quality: Tensor) -> Tensor:
    """Rows of a table (8, C) at qualities (B,) from 0 to 56, interpolated, to (B, C, 1, 1) float64.

    At whole qualities both products are exact, as shares are eighths and tables float32 at most: the sum is rounded
    once, and the same everywhere, also where a processor joins product and sum. (torch.lerp does not promise that.)
    """
    place = quality.double() / BETWEEN
    low = place.floor().clamp(0, ANCHORS - 2).long()
    share = (place - low).unsqueeze(1)
    rows = table.double()[low] * (1 - share) + table.double()[low + 1] * share
    return rows.unsqueeze(-1).unsqueeze(-1)
