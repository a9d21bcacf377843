import pytest
import torch

from narrows.codecs import ResidualVQ
from narrows.errors import InputError


def test_each_codebook_takes_the_nearest_of_what_is_left() -> None:
    torch.manual_seed(0)
    bottleneck = ResidualVQ(5, codebooks=3, entries=16, code_dim=4).eval()
    z = torch.randn(1, 5, 20)
    codes = bottleneck.encode(z)[0]
    rest = bottleneck.project_in(z[0].T)
    for k, stage in enumerate(bottleneck.stages):
        distances = (rest[:, None] - stage.codebook[None]).square().sum(-1)
        assert torch.equal(distances.argmin(1), codes[k])
        rest = rest - stage.codebook[codes[k]]


def test_training_uses_the_codebooks_and_lowers_the_error() -> None:
    torch.manual_seed(0)
    bottleneck = ResidualVQ(4, codebooks=2, entries=32, code_dim=4, dropout=0.0).train()
    centres = torch.randn(64, 4)
    errors = []
    for _ in range(60):
        z = (centres[torch.randint(64, (256,))] + 0.05 * torch.randn(256, 4)).T[None]
        quantized = bottleneck(z)
        errors.append(quantized.losses["commitment"].item())
    assert min(len(book.unique()) for book in quantized.codes[0]) > 16
    assert errors[-1] < 0.5 * errors[0]


def test_dropout_is_drawn_for_each_item() -> None:
    torch.manual_seed(0)
    bottleneck = ResidualVQ(4, codebooks=4, entries=16, code_dim=4, dropout=1.0).train()
    bits = bottleneck(torch.randn(64, 4, 2)).bits
    assert sorted({round(value / 8) for value in bits.tolist()}) == [1, 2, 3, 4]


@pytest.mark.parametrize(("codebooks", "entries"), [(0, 16), (2, 1)])
def test_impossible_sizes_are_refused(codebooks: int, entries: int) -> None:
    with pytest.raises(InputError):
        ResidualVQ(4, codebooks, entries)


def test_a_prime_codebook_too_large_for_a_table_is_refused() -> None:
    with pytest.raises(InputError, match="product of factors"):
        ResidualVQ(4, 1, 4099).radices  # noqa: B018
