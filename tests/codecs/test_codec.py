import pytest
import torch

from narrows.codecs import (
    FSQ,
    AttentionProjection,
    Bottleneck,
    Codec,
    Encoder,
    FrameDecoder,
    FrameEncoder,
    LDMDecoder,
    LDMEncoder,
    LinearSynthesis,
    MultiCodebook,
    Quantized,
    ResidualVQ,
)
from narrows.errors import InputError


def codec(bottleneck: torch.nn.Module | None = None) -> Codec:
    torch.manual_seed(0)
    bottleneck = bottleneck or FSQ(8, (5, 4), 3)
    return Codec(FrameEncoder(8, 16, 1, hop=16), bottleneck, FrameDecoder(8, 16, 1, hop=16))  # type: ignore[arg-type]


@pytest.mark.parametrize("bottleneck", [FSQ(8, (5, 4), 3), ResidualVQ(8, 3, 16, 4)])
def test_decode_of_encode_is_forward(bottleneck: torch.nn.Module) -> None:
    made = codec(bottleneck).eval()
    x = torch.randn(2, 1, 10 * made.stride[0])
    codes = made.encode(x)
    assert codes.shape == (2, 3, 10)
    assert codes.dtype == torch.int64
    reconstruction = made(x)
    assert torch.equal(reconstruction.quantized.codes, codes)
    assert torch.equal(made.decode(codes), reconstruction.x)
    assert reconstruction.x.shape == x.shape


def test_items_do_not_depend_on_their_batch() -> None:
    made = codec().eval()
    x = torch.randn(3, 1, 12 * made.stride[0])
    together, alone = made.encode(x), torch.cat([made.encode(item[None]) for item in x])
    assert torch.equal(together, alone)
    torch.testing.assert_close(made.decode(together)[1:2], made.decode(alone[1:2]), atol=1e-5, rtol=0)


def test_every_weight_has_a_gradient() -> None:
    made = codec().train()
    made(torch.randn(2, 1, 8 * made.stride[0])).x.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters())


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="expected parts of one latent dim, got encoder 8, bottleneck 4, decoder 8"):
        codec(FSQ(4))
    with pytest.raises(InputError, match=r"expected one stride, got \(32,\) of the encoder, \(48,\) of the decoder"):
        Codec(FrameEncoder(8, 16, 1, hop=16), FSQ(8), FrameDecoder(8, 16, 1, hop=16, fold=3))


def test_parts_of_other_kinds_and_channels_are_refused() -> None:
    encoder, decoder = FrameEncoder(8, 16, 1, hop=16), FrameDecoder(8, 16, 1, hop=16)
    with pytest.raises(InputError, match=r"expected one stride, got \(32,\) of the encoder, \(16, 16\)"):
        Codec(encoder, FSQ(8, (5, 4), 3), LinearSynthesis(8))
    with pytest.raises(InputError, match="expected the decoder to be a Decoder, got FrameEncoder"):
        Codec(encoder, FSQ(8), encoder)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected one number of channels, got 2 of the encoder, 1 of the decoder"):
        Codec(FrameEncoder(8, 16, 1, hop=16, channels=2), FSQ(8), decoder)
    with pytest.raises(InputError, match="expected no quality for FSQ"):
        codec().encode(torch.zeros(1, 1, 32), 3)


def test_a_codec_of_two_channels() -> None:
    both = {"hop": 16, "channels": 2}
    made = Codec(FrameEncoder(8, 16, 1, **both), FSQ(8, (5, 4), 3), FrameDecoder(8, 16, 1, **both)).eval()
    x = torch.randn(3, 2, 320)
    assert made.channels == 2
    assert made(x).x.shape == x.shape
    assert torch.equal(made.decode(made.encode(x)), made(x).x)


def test_bounded_codecs() -> None:
    assert codec().bounded
    attention = MultiCodebook(8, 2, 16, 4, AttentionProjection(8, 8, 2))
    assert not codec(attention).bounded
    assert not Codec(LDMEncoder(8, 4, (1, 2), 1, 0, 2), FSQ(8), LDMDecoder(8, 4, (1, 2), 1, 0, 2)).bounded


class ShortEncoder(FrameEncoder):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[:, :, :-1]


class ShortDecoder(FrameDecoder):
    def forward(self, z: torch.Tensor, quality_index: torch.Tensor | int | None = None) -> torch.Tensor:
        return super().forward(z)[:, :, 1:]


def test_outputs_of_another_shape_than_declared_are_refused() -> None:
    parts = {"encoder": FrameEncoder(8, 16, 1, hop=16), "decoder": FrameDecoder(8, 16, 1, hop=16)}
    short = Codec(**(parts | {"encoder": ShortEncoder(8, 16, 1, hop=16)}), bottleneck=FSQ(8, (5, 4), 3))
    x = torch.zeros(2, 1, 320)
    for use in (short.encode, short):
        with pytest.raises(
            InputError, match=r"ShortEncoder.forward to return \(2, 8, 10\) for \(2, 1, 320\), got \(2, 8"
        ):
            use(x)
    short = Codec(**(parts | {"decoder": ShortDecoder(8, 16, 1, hop=16)}), bottleneck=FSQ(8, (5, 4), 3))
    for use in (lambda x: short.decode(short.encode(x)), short):
        with pytest.raises(
            InputError, match=r"ShortDecoder.forward to return \(2, 1, 320\) for \(2, 8, 10\), got \(2, 1"
        ):
            use(x)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "forward to return a Quantized, got None"),
        (torch.zeros(1), "forward to return a Quantized, got a Tensor"),
        (Quantized(torch.zeros(1, 8, 9)), r"forward to return \(1, 8, 10\) for \(1, 8, 10\), got \(1, 8, 9\)"),
        (Quantized(None), r"forward to return \(1, 8, 10\) for \(1, 8, 10\), got NoneType"),  # type: ignore[arg-type]
    ],
)
def test_bottlenecks_return_a_quantized(returned: Quantized, message: str) -> None:
    class Own(FSQ):
        def forward(self, z: torch.Tensor) -> Quantized:
            return returned

    with pytest.raises(InputError, match=f"expected Own.{message}"):
        codec(Own(8, (5, 4), 3))(torch.zeros(1, 1, 320))


def test_classes_without_the_methods_of_their_kind_are_refused() -> None:
    class Half(Encoder):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    class Nothing(Bottleneck):
        pass

    with pytest.raises(InputError, match="expected Half to have reach, got none; define it in the class"):
        Half()
    with pytest.raises(InputError, match="expected Nothing to have decode, encode, forward, got none"):
        Nothing()
