import pytest
import torch

from narrows.codecs.layers.istft import ISTFTHead
from narrows.errors import InputError


@pytest.mark.parametrize(("n_fft", "hop"), [(64, 16), (48, 16), (32, 16)])
def test_centred_frames_are_those_of_torch(n_fft: int, hop: int) -> None:
    torch.manual_seed(0)
    head, x = ISTFTHead(6, n_fft, hop, centred=True), torch.randn(2, 9, 6)
    logs, phases = head.out(x).transpose(1, 2).chunk(2, 1)
    window = torch.hann_window(n_fft)
    expected = torch.istft(torch.polar(logs.exp(), phases), n_fft, hop, window=window, center=True)
    assert head(x).shape == (2, 9 * hop)
    torch.testing.assert_close(head(x)[:, : 8 * hop], expected, atol=1e-5, rtol=1e-5)


def test_magnitudes_are_limited() -> None:
    head = ISTFTHead(2, 16, 4)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.fill_(1e3)
    assert head(torch.ones(1, 5, 2)).isfinite().all()


@pytest.mark.parametrize(("n_fft", "hop"), [(15, 4), (6, 4), (0, 1)])
def test_frames_must_overlap(n_fft: int, hop: int) -> None:
    with pytest.raises(InputError, match="n_fft"):
        ISTFTHead(2, n_fft, hop)
