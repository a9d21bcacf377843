import pytest
import torch

from narrows.codecs import FSQ, Codec, FrameDecoder, FrameEncoder, LinearSynthesis, ResidualVQ
from narrows.errors import InputError


def codec(bottleneck: torch.nn.Module | None = None) -> Codec:
    torch.manual_seed(0)
    bottleneck = bottleneck or FSQ(8, (5, 4), 3)
    return Codec(FrameEncoder(8, 16, 1, hop=16), bottleneck, FrameDecoder(8, 16, 1, hop=16))  # type: ignore[arg-type]


@pytest.mark.parametrize("bottleneck", [FSQ(8, (5, 4), 3), ResidualVQ(8, 3, 16, 4)])
def test_decode_of_encode_is_forward(bottleneck: torch.nn.Module) -> None:
    made = codec(bottleneck).eval()
    x = torch.randn(2, 1, 10 * made.stride)
    codes = made.encode(x)
    assert codes.shape == (2, 3, 10)
    assert codes.dtype == torch.int64
    reconstruction = made(x)
    assert torch.equal(reconstruction.quantized.codes, codes)
    assert torch.equal(made.decode(codes), reconstruction.x)
    assert reconstruction.x.shape == x.shape


def test_items_do_not_depend_on_their_batch() -> None:
    made = codec().eval()
    x = torch.randn(3, 1, 12 * made.stride)
    together, alone = made.encode(x), torch.cat([made.encode(item[None]) for item in x])
    assert torch.equal(together, alone)
    torch.testing.assert_close(made.decode(together)[1:2], made.decode(alone[1:2]), atol=1e-5, rtol=0)


def test_every_weight_has_a_gradient() -> None:
    made = codec().train()
    made(torch.randn(2, 1, 8 * made.stride)).x.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters())


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="encoder 8, bottleneck 4, decoder 8"):
        codec(FSQ(4))
    with pytest.raises(InputError, match="stride 32 and decoder of stride 48"):
        Codec(FrameEncoder(8, 16, 1, hop=16), FSQ(8), FrameDecoder(8, 16, 1, hop=16, fold=3))


@pytest.mark.parametrize("shape", [(1, 1, 33), (1, 2, 64), (1, 64), (1, 1, 0)])
def test_audio_of_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"wanted"):
        codec().encode(torch.zeros(shape))


def test_parts_for_other_media_are_refused() -> None:
    encoder = FrameEncoder(8, 16, 1, hop=16, fold=1)
    with pytest.raises(InputError, match="an encoder of audio and a decoder of images"):
        Codec(encoder, FSQ(8, (5, 4), 3), LinearSynthesis(8))
    with pytest.raises(InputError, match="one for images wanted"):
        codec().check_axes(2)
