import copy

import pytest
import torch
from torch import nn

from narrows.codecs import (
    ARD,
    FSQ,
    Bottleneck,
    Codec,
    FactorisedDecoder,
    FactorisedEncoder,
    FactorizedPrior,
    FrameDecoder,
    FrameEncoder,
    Gaussian,
    LappedDecoder,
    LappedEncoder,
    LatentDecoder,
    LatentEncoder,
    MultiCodebook,
    Nested,
    ReBottleneck,
    ResidualVQ,
    Rounding,
    SpaceChannelContext,
)
from narrows.errors import InputError
from narrows.parts import build, spec

INNER = {
    "gaussian": lambda: Gaussian(4, 4, Rounding(), dropout=0.5),
    "ard": lambda: ARD(4, 3, Rounding()),
    "fsq": lambda: FSQ(4, (8, 5), groups=2, dropout=0.5),
    "residual-vq": lambda: ResidualVQ(4, 2, 16, 4),
    "multi-codebook": lambda: MultiCodebook(4, 2, 16, 2),
}
GRIDS = {1: (7,), 2: (3, 4), 3: (2, 3, 4)}


def made(inner: Bottleneck, axes: int = 1, channels: int = 6) -> ReBottleneck:
    networks = [part(channels, inner.dim, 8, 1, axes) for part in (LatentEncoder, LatentDecoder)]
    for parameter in (p for network in networks for p in network.parameters()):
        nn.init.normal_(parameter, std=0.3)
    return ReBottleneck(networks[0], inner, networks[1])


@pytest.mark.parametrize("axes", GRIDS)
@pytest.mark.parametrize("name", INNER)
def test_it_keeps_the_contract_of_bottlenecks(name: str, axes: int) -> None:
    torch.manual_seed(0)
    bottleneck, z = made(INNER[name](), axes).eval(), torch.randn(2, 6, *GRIDS[axes])
    quantized, codes = bottleneck(z), bottleneck.encode(z)
    assert codes.shape == (2, len(bottleneck.codebook_sizes), *GRIDS[axes])
    assert torch.equal(quantized.codes, codes)
    assert torch.equal(bottleneck.decode(codes), quantized.latents)
    assert quantized.latents.shape == z.shape
    for k in bottleneck.prefixes:
        assert bottleneck.decode(codes[:, :k]).shape == z.shape
    assert (bottleneck.radices, bottleneck.table_sizes) == (bottleneck.bottleneck.radices, bottleneck.table_sizes)
    again = build(spec(bottleneck))
    again.load_state_dict(bottleneck.state_dict())
    assert torch.equal(again.eval().encode(z), codes)
    z.requires_grad_()
    bottleneck.train()(z).latents.square().sum().backward()
    assert z.grad is not None


def test_its_reach_is_that_of_its_networks() -> None:
    assert made(FSQ(4, (5, 5))).reach == 6
    assert made(FSQ(4, (5, 5)), 3).reach == 6


AROUND = {
    "audio": lambda: (FrameEncoder(6, 12, 1, hop=8, fold=1), Gaussian(6, 4), FrameDecoder(6, 12, 1, hop=8, fold=1)),
    "image": lambda: (LappedEncoder(6, 6, 2, 1), FSQ(6, (5, 5), 2), LappedDecoder(6, 6, 2, 2, 1)),
    "video": lambda: (
        FactorisedEncoder(6, (2, 4), (1, 2), 2),
        Gaussian(6, 4),
        FactorisedDecoder(6, (2, 4), (1, 2), 2),
    ),
}


@pytest.mark.parametrize("medium", AROUND)
def test_a_codec_around_it_decodes_as_both_one_after_the_other(medium: str) -> None:
    torch.manual_seed(0)
    encoder, outer, decoder = AROUND[medium]()
    axes = len(encoder.stride)
    inner = made(FSQ(4, (8, 5), groups=2, dropout=0.5), axes)
    codec = Codec(encoder, Nested(outer, inner, frozen=True), decoder).eval()
    assert codec.bottleneck is inner.bottleneck
    x = torch.randn(2, encoder.channels, *(2 * stride for stride in encoder.stride))
    wanted = inner.eval()(outer.eval()(encoder.eval()(x)).latents)
    assert torch.equal(codec.encode(x), wanted.codes)
    assert torch.equal(codec(x).x, decoder.eval()(wanted.latents))
    assert torch.equal(codec.decode(codec.encode(x)), codec(x).x)
    for one, base, more in zip(codec.encoder.reach, encoder.reach, inner.inner_encoder.reach, strict=True):
        assert one == (base[0] + more[0], base[1] + more[1])
    again = build(spec(codec)).eval()
    again.load_state_dict(codec.state_dict())
    assert torch.equal(again(x).x, codec(x).x)
    assert torch.equal(copy.deepcopy(codec)(x).x, codec(x).x)


def test_a_stream_of_video_goes_through_both() -> None:
    torch.manual_seed(0)
    encoder, outer, decoder = AROUND["video"]()
    codec = Codec(encoder, Nested(outer, made(FSQ(4, (8, 5)), 3), frozen=True), decoder).eval()
    x = torch.randn(1, 3, 4 * codec.stride[0], 2 * codec.stride[1], 2 * codec.stride[2])
    with torch.no_grad():
        whole = codec.encoder(x)
        state, parts = codec.encoder.start(1), []
        for piece in x.split((codec.stride[0], 3 * codec.stride[0]), 2):
            z, state = codec.encoder.step(piece, state)
            parts.append(z)
        assert torch.equal(torch.cat(parts, 2), whole)
        state, parts = codec.decoder.start(1), []
        for piece in whole.split((3, 1), 2):
            y, state = codec.decoder.step(piece, state)
            parts.append(y)
        assert torch.equal(torch.cat(parts, 2), codec.decoder(whole))


def test_an_entropy_model_is_left_out_and_the_decoder_runs_at_one_quality() -> None:
    torch.manual_seed(0)
    encoder, decoder = LappedEncoder(6, 6, 2, 1), LappedDecoder(6, 6, 2, 2, 1)
    inner = made(FSQ(4, (8, 5)), 2)
    with pytest.raises(InputError, match="quantizes each position alone, got SpaceChannelContext"):
        Codec(encoder, Nested(SpaceChannelContext((2, 4), 1, (8, 8)), inner, frozen=True), decoder)
    at = ReBottleneck(inner.inner_encoder, inner.bottleneck, inner.inner_decoder, quality_index=3)
    codec, x = Codec(encoder, at, decoder).eval(), torch.randn(1, 3, 32, 48)
    assert torch.equal(codec(x).x, decoder.eval()(at.eval()(encoder.eval()(x)).latents, 3))
    with pytest.raises(InputError, match="no quality_index for FrameDecoder, got 3; leave it out"):
        Codec(AROUND["audio"]()[0], rebuilt(at, 1), AROUND["audio"]()[2])


def rebuilt(bottleneck: ReBottleneck, axes: int) -> ReBottleneck:
    inner = made(FSQ(4, (8, 5)), axes)
    return ReBottleneck(inner.inner_encoder, inner.bottleneck, inner.inner_decoder, bottleneck.quality_index)


def test_it_holds_an_entropy_model() -> None:
    torch.manual_seed(0)
    inner = made(FactorizedPrior(4), 2)
    codec = Codec(LappedEncoder(6, 6, 2, 1), inner, LappedDecoder(6, 6, 2, 2, 1)).eval()
    x = torch.randn(1, 3, 32, 48)
    assert torch.equal(codec.decode(codec.encode(x, 0), 0), codec(x, 0).x)


def test_one_around_another() -> None:
    torch.manual_seed(0)
    encoder, outer, decoder = AROUND["audio"]()
    first = Codec(encoder, Nested(outer, made(Gaussian(5, 5), 1), frozen=True), decoder)
    second = Codec(first.encoder, Nested(first.bottleneck, made(FSQ(4, (5, 5)), 1, 5), frozen=True), first.decoder)
    x = torch.randn(1, 1, 80)
    assert second.eval()(x).x.shape == x.shape
    assert spec(build(spec(second))) == spec(second)


def test_parts_that_do_not_fit_are_refused() -> None:
    encoder, decoder = LatentEncoder(6, 4, 8, 1), LatentDecoder(6, 4, 8, 1)
    with pytest.raises(InputError, match="expected bottleneck to be a Bottleneck, got Linear"):
        ReBottleneck(encoder, nn.Linear(4, 4), decoder)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="got dims"):
        ReBottleneck(encoder, FSQ(5, (5, 5)), decoder)
    with pytest.raises(InputError, match="channels 6 and 5"):
        ReBottleneck(encoder, FSQ(4, (5, 5)), LatentDecoder(5, 4, 8, 1))
    with pytest.raises(InputError, match="strides of 1"):
        ReBottleneck(FrameEncoder(4, 8, 1, hop=8, fold=1, channels=6), FSQ(4, (5, 5)), decoder)
    inner = ReBottleneck(encoder, FSQ(4, (5, 5)), decoder)
    base = AROUND["audio"]()
    with pytest.raises(InputError, match="expected a frozen Nested around a ReBottleneck"):
        Codec(base[0], Nested(base[1], inner), base[2])
    with pytest.raises(InputError, match="inner encoder of 8 channels and 1 axes, got 6 and 1"):
        Codec(FrameEncoder(8, 12, 1), inner, FrameDecoder(8, 12, 1))
