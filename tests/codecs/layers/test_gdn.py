import torch

from narrows.codecs.layers.gdn import GDN


def test_gdn_divides_by_the_norm_and_its_inverse_multiplies() -> None:
    x = torch.randn(2, 3, 4, 5)
    norm = (1 + 0.1 * x.square()).sqrt()
    torch.testing.assert_close(GDN(3)(x), x / norm)
    torch.testing.assert_close(GDN(3, inverse=True)(x), x * norm)
