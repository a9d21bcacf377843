import pytest
import torch
from torch import nn

from narrows.codecs import (
    MultiCodebook,
)
from narrows.errors import InputError


def test_multi_codebook_takes_the_code_of_largest_cosine_per_group() -> None:
    """UniTok: each chunk takes the code of its sub-codebook with the largest cosine, and becomes that unit vector."""
    torch.manual_seed(0)
    bottleneck = MultiCodebook(12, codebooks=3, entries=20, code_dim=4).eval()
    z = torch.randn(1, 12, 30)
    quantized = bottleneck(z)
    for k, (chunk, member) in enumerate(zip(z[0].split(4), bottleneck.members, strict=True)):
        table = nn.functional.normalize(member.codebook.vectors, dim=1)
        codes = (nn.functional.normalize(chunk.T, dim=1) @ table.T).argmax(1)
        assert torch.equal(quantized.codes[0, k], codes)
        torch.testing.assert_close(quantized.latents[0, 4 * k : 4 * k + 4].T, table[codes])


def test_invalid_arguments_raise() -> None:
    with pytest.raises(InputError, match="expected"):
        MultiCodebook(8, codebooks=0)
