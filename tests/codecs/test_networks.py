"""One contract for all encoders and decoders: shapes, channels, reach, batches, gradients, options, streaming."""

import inspect

import pytest
import torch
from torch import Tensor, nn

from narrows import codecs
from narrows.codecs import (
    AdaptiveVocosDecoder,
    BigCodecDecoder,
    BigCodecEncoder,
    ClassifierDecoder,
    ClassifierEncoder,
    ConvDecoder,
    ConvEncoder,
    DACDecoder,
    DACEncoder,
    Decoder,
    EnCodecDecoder,
    EnCodecEncoder,
    Encoder,
    FactorisedDecoder,
    FactorisedEncoder,
    FeatureDecoder,
    FeatureEncoder,
    FrameDecoder,
    FrameEncoder,
    Gaussian,
    GLMVoiceEncoder,
    HuBERT,
    LappedDecoder,
    LappedEncoder,
    LatentDecoder,
    LatentEncoder,
    LDMDecoder,
    LDMEncoder,
    LinearSynthesis,
    LogMelEncoder,
    MimiDecoder,
    MimiEncoder,
    NanoCodecDecoder,
    NanoCodecEncoder,
    NoDecoder,
    NoEncoder,
    OobleckDecoder,
    OobleckEncoder,
    S3Encoder,
    S3MemoryEncoder,
    ShallowDecoder,
    SNACDecoder,
    SNACEncoder,
    StageEncoder,
    State,
    Tanh,
    TimmBackbone,
    ViTDecoder,
    ViTEncoder,
    VocosDecoder,
    W2VBert,
    WaveletDecoder,
    WaveletEncoder,
    WavLM,
    WavTokenizerDecoder,
    XCodec2Decoder,
    XCodec2Encoder,
    XCodecDecoder,
    XCodecEncoder,
)
from narrows.codecs.base import Network
from narrows.codecs.stacked import StackedDecoder, StackedEncoder
from narrows.errors import InputError
from narrows.parts import build, find, names, spec

ENCODERS = [
    lambda **more: FrameEncoder(8, 12, 2, hop=8, fold=1, **more),
    lambda **more: FrameEncoder(8, 12, 1, hop=8, fold=3, **more),
    lambda **more: EnCodecEncoder(8, 4, (3, 2), **more),
    lambda **more: EnCodecEncoder(8, 4, (2, 3), False, False, False, **more),
    lambda **more: EnCodecEncoder(8, 4, (4,), False, True, **more),
    lambda **more: EnCodecEncoder(8, 4, (3, 2), False, zeros=True, **more),
    lambda **more: MimiEncoder(8, 4, (3, 2), 2, 2, 12, 5, **more),
    lambda **more: MimiEncoder(8, 4, (4,), 1, 1, 12, 9, **more),
    lambda: BigCodecEncoder(3, (2, 3), 8),
    lambda: XCodec2Encoder(2, (4, 4, 4, 5), 6, W2VBert(1, 8, 2, 8)),
    lambda: XCodec2Encoder(2, (4, 4, 4, 5), 6, W2VBert(1, 8, 2, 8), 24_000, False),
    lambda: S3Encoder(8, 1, 2, 6),
    lambda: GLMVoiceEncoder(8, 2, 2, 6, 10, 2),
    lambda: S3Encoder(8, 1, 2, 6, 2),
    lambda: S3MemoryEncoder(5, 8, 2, 2, 6),
    lambda: DACEncoder(3, (4, 4), 8),
    lambda **more: OobleckEncoder(3, (1, 2), (4, 4), 4, **more),
    lambda: XCodecEncoder(2, (8, 5, 8), 6, HuBERT(1, 16, 2, 8, 4), 16_000),
    lambda: XCodecEncoder(2, (4, 8, 15), 6, WavLM(1, 16, 2, 8, 4)),
    lambda: NanoCodecEncoder(2, (8, 7), 6),
    lambda: SNACEncoder(3, (2, 3), 2),
    lambda: SNACEncoder(16, (2, 2), 6, 3),
    lambda: LogMelEncoder(8, 4000, 64, 16),
    lambda: LogMelEncoder(8, 4000, 48, 16, centred=False),
    lambda **more: ConvEncoder(8, 6, **more),
    lambda **more: ClassifierEncoder(8, 6, (2, 1, 2), **more),
    lambda **more: LappedEncoder(8, 6, 2, 1, **more),
    lambda **more: LDMEncoder(8, 4, (1, 2), 1, 1, 2, **more),
    lambda **more: ViTEncoder(8, 16, 1, 2, 4, 3, **more),
    lambda **more: FeatureEncoder(TimmBackbone("test_vit", **more), 8, 2, 4),
    lambda **more: WaveletEncoder(8, 4, 1, 4, **more),
    lambda **more: WaveletEncoder(8, 4, 2, 4, True, **more),
    lambda **more: FactorisedEncoder(8, (2, 4), (1, 2), 2, **more),
    lambda **more: FactorisedEncoder(8, (4,), (1,), 1, 3, False, **more),
    *(lambda axes=axes, **more: LatentEncoder(dim=8, width=6, depth=2, axes=axes, **more) for axes in (1, 2, 3)),
    lambda **more: StackedEncoder(FrameEncoder(8, 12, 1, hop=8, fold=1, **more), None, LatentEncoder(8, 6, 6, 1)),
    lambda **more: StackedEncoder(ConvEncoder(8, 6, **more), Tanh(8, 4), LatentEncoder(8, 6, 6, 1, 2)),
    lambda **more: StackedEncoder(
        FactorisedEncoder(8, (2, 4), (1, 2), 2, **more), Gaussian(8, 4), LatentEncoder(8, 6, 6, 1, 3)
    ),
]
DECODERS = [
    lambda **more: FrameDecoder(8, 12, 1, hop=8, fold=1, iterations=0, **more),
    lambda **more: FrameDecoder(8, 12, 2, hop=8, fold=2, iterations=1, **more),
    lambda **more: FrameDecoder(8, 12, 1, hop=8, fold=3, iterations=4, **more),
    lambda **more: EnCodecDecoder(8, 4, (3, 2), **more),
    lambda **more: EnCodecDecoder(8, 4, (2, 3), False, False, False, **more),
    lambda **more: EnCodecDecoder(8, 4, (4,), False, True, **more),
    lambda **more: EnCodecDecoder(8, 4, (3, 2), False, zeros=True, **more),
    lambda **more: MimiDecoder(8, 4, (3, 2), 2, 2, 12, 5, **more),
    lambda **more: MimiDecoder(8, 4, (4,), 1, 1, 12, 9, **more),
    lambda: BigCodecDecoder(12, (3, 2), 8),
    lambda: WavTokenizerDecoder(8, 32, 16, 2, 64, 16, qualities=50),
    lambda: XCodec2Decoder(8, 32, 2, 2, 16, 16),
    lambda: DACDecoder(12, (4, 5), 8),
    lambda **more: OobleckDecoder(3, (2, 1), (4, 5), 4, **more),
    lambda: XCodecDecoder(12, (4, 5), 6, 8),
    lambda: NanoCodecDecoder(8, (16, 8), 6),
    lambda: SNACDecoder(5, 12, (3, 2), 2),
    lambda: SNACDecoder(3, 64, (2, 3), 8, 4),
    lambda: VocosDecoder(8, 12, 16, 2, 64, 16),
    lambda: VocosDecoder(8, 12, 16, 1, 48, 16, centred=False),
    lambda: AdaptiveVocosDecoder(8, 12, 16, 2, 64, 16, qualities=50),
    lambda **more: ConvDecoder(8, 6, **more),
    lambda **more: ClassifierDecoder(8, 6, (1, 2, 1), **more),
    lambda **more: LappedDecoder(8, 6, 2, 2, 1, **more),
    lambda **more: LinearSynthesis(8, **more),
    lambda **more: ShallowDecoder(8, 4, **more),
    lambda **more: LDMDecoder(8, 4, (1, 2), 1, 1, 2, **more),
    lambda **more: ViTDecoder(8, 16, 1, 2, 4, 3, **more),
    lambda **more: FeatureDecoder(ViTDecoder(8, 16, 1, 2, 4, 3, **more), 8, 1, 2),
    lambda **more: WaveletDecoder(8, 4, 2, 8, **more),
    lambda **more: WaveletDecoder(8, 16, 1, 8, True, **more),
    lambda **more: FactorisedDecoder(8, (2, 4), (1, 2), 2, **more),
    lambda **more: FactorisedDecoder(8, (4, 2), (1, 1), 1, 2, False, **more),
    *(lambda axes=axes, **more: LatentDecoder(dim=8, width=6, depth=2, axes=axes, **more) for axes in (1, 2, 3)),
    lambda **more: StackedDecoder(
        LatentDecoder(8, 6, 6, 1), FrameDecoder(8, 12, 1, hop=8, fold=1, iterations=0, **more)
    ),
    lambda **more: StackedDecoder(LatentDecoder(8, 6, 6, 1, 2), LappedDecoder(8, 6, 2, 2, 1, **more)),
    lambda **more: StackedDecoder(LatentDecoder(8, 6, 6, 1, 3), FactorisedDecoder(8, (2, 4), (1, 2), 2, **more)),
]
MAKERS = [*ENCODERS, *DECODERS]
ANY_CHANNELS = [make for make in MAKERS if inspect.signature(make).parameters]  # the others are mono
LEARNED = [make for make in MAKERS if any(p.requires_grad for p in make().parameters())]
STACKED = {"stacked-encoder", "stacked-decoder", "stage-encoder"}  # made of other networks
ONE_WAY = {"no-encoder", "no-decoder"}  # see test_one_way.py
GRID = (37, 15)  # positions; more than twice any reach here
SMALL, LONG = (3, 2, 2), 67  # positions of video; along one axis, more than twice any reach here


def made(make, **more) -> Network:
    """A network with weights of no special values, in float64."""
    torch.manual_seed(1)
    network = make(**more)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.double().eval()


def grid_of(network: Network, axis: int | None = None) -> tuple[int, ...]:
    """Positions along each axis; of video, only the given one is long."""
    if len(network.stride) < 3:
        return GRID[: len(network.stride)]
    return tuple(LONG if index == axis else count for index, count in enumerate(SMALL))


def signal(network: Network, batch: int = 1, axis: int | None = None) -> Tensor:
    size = [count * stride for count, stride in zip(grid_of(network, axis), network.stride, strict=True)]
    return torch.randn(batch, network.channels, *size, dtype=torch.float64)


def latents(network: Network, batch: int = 1, axis: int | None = None) -> Tensor:
    return torch.randn(batch, network.dim, *grid_of(network, axis), dtype=torch.float64)


def test_every_registered_network_is_here() -> None:
    tested = {type(made(make)) for make in (*ENCODERS, *DECODERS)} | {StageEncoder}  # see image/test_classifiers.py
    assert {find(name) for kind in ("encoder", "decoder") for name in names(kind)} == tested | {NoEncoder, NoDecoder}


@pytest.mark.parametrize("make", ANY_CHANNELS)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_networks_have_the_channels_that_are_asked_for(make, channels: int) -> None:
    assert made(make, channels=channels).channels == channels


@pytest.mark.parametrize("make", ENCODERS)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_encoders_give_latents(make, channels: int) -> None:
    encoder = made(make, **({"channels": channels} if make in ANY_CHANNELS else {}))
    assert isinstance(encoder, Encoder)
    assert encoder(signal(encoder, 2)).shape == (2, encoder.dim, *grid_of(encoder))


@pytest.mark.parametrize("make", DECODERS)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_decoders_give_signals(make, channels: int) -> None:
    decoder = made(make, **({"channels": channels} if make in ANY_CHANNELS else {}))
    assert isinstance(decoder, Decoder)
    assert decoder(latents(decoder, 2)).shape == signal(decoder, 2).shape


@pytest.mark.parametrize("make", ENCODERS)
def test_encoders_refuse_other_signals(make) -> None:
    encoder = made(make)
    x = signal(encoder)
    partial = [x[..., :-1]] if encoder.stride[-1] > 1 and not encoder.any_length else []
    for wrong in (x[0], x[:, :0], x[..., :0], x.repeat(1, 2, *[1] * (x.ndim - 2)), *partial):
        with pytest.raises(InputError, match="expected a signal"):
            encoder(wrong)


@pytest.mark.parametrize("make", [make for make in ENCODERS if made(make).any_length])
def test_encoders_of_any_length_give_a_latent_for_what_is_left(make) -> None:
    encoder = made(make)
    (stride,) = encoder.stride
    for size in (1, stride - 1, stride, stride + 1, 5 * stride - 2):
        x = torch.randn(2, encoder.channels, size, dtype=torch.float64)
        assert encoder(x).shape == (2, encoder.dim, -(-size // stride))


def positions_that_change(network: Network, axis: int) -> list[int]:
    """The positions along an axis of the grid at which the output changes with the input at the middle one."""
    is_encoder, middle = isinstance(network, Encoder), grid_of(network, axis)[axis] // 2
    x = signal(network, axis=axis) if is_encoder else latents(network, axis=axis)
    step = network.stride[axis] if is_encoder else 1
    before, seen = network(x), set()
    every = 1 if network.reach[axis] else -(-step // 8)
    for offset in range(0, step, every):
        other = x.clone()
        other.movedim(2 + axis, -1)[..., middle * step + offset] += 10
        differs = (network(other) != before).movedim(2 + axis, -1).flatten(0, -2).any(0).nonzero().flatten()
        seen |= {int(place) // (1 if is_encoder else network.stride[axis]) for place in differs}
    return sorted(place - middle for place in seen)


@pytest.mark.parametrize("make", [*ENCODERS, *DECODERS])
def test_the_reach_is_what_it_says(make) -> None:
    network = made(make)
    assert len(network.reach) == len(network.stride)
    for axis, reach in enumerate(network.reach):
        seen, size = positions_that_change(network, axis), grid_of(network, axis)[axis]
        if reach is None:  # as far as one end; an LSTM sees what is before only
            assert min(seen) == -(size // 2) or max(seen) == size - 1 - size // 2
        else:
            before, after = reach
            # An output at p depends on inputs from p - before to p + after, so the input at p changes p - after to
            # p + before.
            assert -after <= min(seen) <= max(seen) <= before < size // 2


@pytest.mark.parametrize("make", [ENCODERS[0], ENCODERS[1], DECODERS[0], DECODERS[1], DECODERS[2]])
def test_the_reach_of_frame_networks_is_tight(make) -> None:
    network = made(make)
    ((before, after),) = network.reach
    seen = positions_that_change(network, 0)
    assert max(-min(seen), max(seen)) == max(before, after)


@pytest.mark.parametrize("make", [*ENCODERS, *DECODERS])
def test_items_do_not_depend_on_their_batch(make) -> None:
    network = made(make)
    x = signal(network, 3) if isinstance(network, Encoder) else latents(network, 3)
    alone = torch.cat([network(item[None]) for item in x])
    torch.testing.assert_close(network(x), alone, atol=1e-9, rtol=0)


@pytest.mark.parametrize("make", LEARNED)
def test_every_weight_learns(make) -> None:
    network = made(make)
    x = signal(network) if isinstance(network, Encoder) else latents(network)
    network(x).square().sum().backward()
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    assert len(trained) > 1
    dead = [name for name, p in trained if p.grad is None or not p.grad.abs().sum()]
    # A constant in all keys changes no attention weight; a last linear quality table has rows of other qualities.
    assert all("key.bias" in name for name in dead)


@pytest.mark.parametrize("make", DECODERS)
def test_only_conditioned_decoders_depend_on_the_quality(make) -> None:
    decoder = made(make)
    z = latents(decoder)
    assert torch.equal(decoder(z, 0), decoder(z))
    assert torch.equal(decoder(z, 40), decoder(z)) == (not decoder.conditioned)
    if decoder.conditioned:
        several = decoder(torch.cat([z, z]), torch.tensor([0, 40]))
        torch.testing.assert_close(several, torch.cat([decoder(z, 0), decoder(z, 40)]), atol=1e-9, rtol=0)


@pytest.mark.parametrize("make", [*ENCODERS, *DECODERS])
def test_networks_survive_json(make) -> None:
    network = made(make)
    again = build(spec(network)).double().eval()
    assert again.load_state_dict(network.state_dict())
    x = signal(network) if isinstance(network, Encoder) else latents(network)
    assert torch.equal(again(x), network(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("make", [*ENCODERS, *DECODERS])
def test_networks_in_half_precision(make, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    network = make().eval()
    x = 0.3 * (signal(network) if isinstance(network, Encoder) else latents(network)).float()
    with torch.no_grad():
        expected, found = network(x), network.to(dtype)(x.to(dtype))
    assert (found.float() - expected).norm() < (0.02 if dtype == torch.float16 else 0.1) * expected.norm()


@pytest.mark.parametrize("name", sorted({*names("encoder"), *names("decoder")} - STACKED - ONE_WAY))
def test_every_option_changes_something(name: str) -> None:
    """Another value of each option changes shapes, weights, the reach or the output."""
    part = find(name)
    small = {"dim": 8, "width": 8, "depth": 1, "hop": 8, "heads": 2, "patch": 1, "grid": 2, "groups": 2, "fine": 4}
    small |= {
        "multipliers": (1, 2),
        "widths": (4, 8),
        "depths": (1, 2),
        "attention": 0,
        "skip": 2,
        "iterations": 1,
        "fold": 1,
    }
    parts = {  # with another one of each
        "backbone": (TimmBackbone("test_vit"), TimmBackbone("test_vit2")),
        "hubert": (HuBERT(1, 16, 2, 8, 4), HuBERT(1, 32, 2, 8, 4)),
        "semantic": (W2VBert(1, 8, 2, 8), W2VBert(1, 16, 2, 8)),
        "pixels": (ViTDecoder(16, 16, 1, 2, 4, 3), ViTDecoder(32, 16, 1, 2, 4, 3)),
    }
    small |= {key: one for key, (one, _) in parts.items()}
    small |= {
        "wavtokenizer-decoder": {"width": 32},
        "glm-voice-encoder": {"block": 4, "pool": 2},
        "bigcodec-decoder": {"strides": (2, 3)},
        "dac-decoder": {"strides": (2, 3)},
        "nanocodec-decoder": {"strides": (2, 3)},
        "oobleck-decoder": {"strides": (2, 3), "multiples": (1, 2)},
        "oobleck-encoder": {"strides": (2, 3), "multiples": (1, 2)},
        "snac-decoder": {"width": 64, "strides": (2, 3)},
        "xcodec-decoder": {"acoustic": 4, "strides": (2, 3)},
        "xcodec-encoder": {"acoustic": 8},
        "xcodec2-decoder": {"width": 32},
        "xcodec2-encoder": {"acoustic": 8, "strides": (4, 4, 4, 5)},
    }.get(name, {})
    base = {key: value for key, value in small.items() if key in inspect.signature(part).parameters}

    def facts(options: dict) -> tuple:
        torch.manual_seed(0)
        network = part(**options).eval()
        shapes = tuple((key, tuple(value.shape)) for key, value in network.state_dict().items())
        count = 8 if len(network.stride) < 3 else 2
        encodes = isinstance(network, Encoder)
        size = [count * stride if encodes else count for stride in network.stride]
        x = torch.randn(1, network.channels if encodes else network.dim, *size)
        with torch.no_grad():
            return shapes, network.stride, network.reach, float(network(x).double().sum())

    for option in inspect.signature(part).parameters:
        value = base.get(option, inspect.signature(part).parameters[option].default)
        changed = (
            parts[option][1]
            if option in parts
            else (2, 2, 4, 4, 5)
            if (name, option) == ("xcodec2-encoder", "strides")  # of the same product
            else (*value[:-1], 2 * value[-1])
            if isinstance(value, tuple)
            else not value
            if isinstance(value, bool)
            else value * 2 or 1
        )
        assert facts(base | {option: changed}) != facts(base), option


def test_parts_that_do_not_stream_say_so() -> None:
    encoder = FrameEncoder(4, 8, 1, hop=8)
    for call in (lambda: encoder.start(1), lambda: encoder.step(torch.zeros(1, 1, 16), State())):
        with pytest.raises(InputError, match="expected a causal part that implements start and step, got FrameEncoder"):
            call()


class Past(State):
    def __init__(self, samples: Tensor) -> None:
        self.samples = samples


class CausalAverage(Encoder):
    """The mean of this and the two samples before: a causal part with a state."""

    channels, dim, stride, reach = 1, 1, (1,), ((2, 0),)

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x, self.start(len(x)))[0]

    def start(self, batch: int) -> Past:
        return Past(torch.zeros(batch, 1, 2, dtype=torch.float64))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, Past]:
        assert isinstance(state, Past)
        x = torch.cat([state.samples, x], 2)
        return x.unfold(2, 3, 1).mean(-1), Past(x[..., -2:])


@pytest.mark.parametrize("size", [1, 2, 7, 50])
def test_a_stream_in_pieces_gives_what_the_whole_gives(size: int) -> None:
    encoder, x = CausalAverage(), torch.randn(2, 1, 50, dtype=torch.float64)
    state, pieces = encoder.start(2), []
    for piece in x.split(size, 2):
        before = state
        out, state = encoder.step(piece, state)
        assert torch.equal(encoder.step(piece, before)[0], out)  # a step changes no state
        pieces.append(out)
    assert torch.equal(torch.cat(pieces, 2), encoder(x))


def test_networks_are_exported() -> None:
    for name in ("Encoder", "Decoder", "State", "Bottleneck", "Codec"):
        assert name in codecs.__all__
