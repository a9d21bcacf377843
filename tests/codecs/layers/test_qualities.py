from fractions import Fraction

import torch

from narrows.codecs.layers.qualities import ANCHORS, QUALITIES, at_quality


def test_interpolation_is_rounded_once() -> None:
    table = torch.randn(ANCHORS, 40) * 10.0 ** torch.randint(-8, 9, (ANCHORS, 40))
    found = at_quality(table, torch.arange(QUALITIES).float())[:, :, 0, 0]
    rows = [[Fraction(value) for value in row] for row in table.tolist()]
    for quality in range(QUALITIES):
        low = min(quality // 8, ANCHORS - 2)
        share = Fraction(quality - 8 * low, 8)
        expected = [float((1 - share) * a + share * b) for a, b in zip(rows[low], rows[low + 1], strict=True)]
        assert found[quality].tolist() == expected
