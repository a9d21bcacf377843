"""Networks of video: every split in time gives the bits of the whole, tiles in space give its values."""

import pytest
import torch
from torch import Tensor

from narrows.codecs import FSQ, Codec, FactorisedDecoder, FactorisedEncoder, WaveletDecoder, WaveletEncoder
from narrows.codecs.base import Network, State
from narrows.codecs.causal import CausalDecoder, CausalEncoder
from narrows.errors import InputError
from narrows.tokenizers.windows import cut

ENCODERS = {
    "wavelet": lambda: WaveletEncoder(4, 4, 1, 4),
    "wavelet with attention": lambda: WaveletEncoder(4, 4, 1, 4, True),
    "factorised": lambda: FactorisedEncoder(8, (8, 16), (1, 2)),
    "factorised with attention": lambda: FactorisedEncoder(8, (8, 32), (1, 1), attention=3),
    "factorised, all channels": lambda: FactorisedEncoder(8, (8, 16), (1, 1), depthwise=False),
    "factorised by 2": lambda: FactorisedEncoder(8, (8,), (1,), 1),
}
DECODERS = {
    "wavelet": lambda: WaveletDecoder(4, 4, 1, 4),
    "wavelet with attention": lambda: WaveletDecoder(4, 4, 1, 4, True),
    "factorised": lambda: FactorisedDecoder(8, (8, 16), (1, 2)),
    "factorised with attention": lambda: FactorisedDecoder(8, (8, 32), (1, 1), attention=3),
    "factorised, all channels": lambda: FactorisedDecoder(8, (8, 16), (1, 1), depthwise=False),
    "factorised by 2": lambda: FactorisedDecoder(8, (8,), (1,), 1),
}
NETWORKS = {f"{name} encoder": make for name, make in ENCODERS.items()}
NETWORKS |= {f"{name} decoder": make for name, make in DECODERS.items()}
LATENTS = 9  # of 33 frames: the first frame makes one, each group of 4 another


def made(name: str) -> CausalEncoder | CausalDecoder:
    torch.manual_seed(0)
    return NETWORKS[name]().eval()


def given(network: Network, side: int = 2, count: int = LATENTS, batch: int = 1) -> Tensor:
    """Input of `count` latent times."""
    if isinstance(network, CausalEncoder):
        size = [n * stride for n, stride in zip((count, side, side + 1), network.stride, strict=True)]
        return torch.rand(batch, network.channels, *size) * 2 - 1
    return torch.randn(batch, network.dim, count, side, side + 1)


def streamed(network: CausalEncoder | CausalDecoder, pieces: list[Tensor]) -> Tensor:
    state: State = network.start(len(pieces[0]))
    outputs = []
    for piece in pieces:
        out, state = network.step(piece, state)
        outputs.append(out)
    return torch.cat(outputs, 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_split_of_33_frames_gives_the_bits_of_the_whole(name: str) -> None:
    """Both parts of every split in two, equal pieces, and a mixture; steps run latent by latent inside."""
    network = made(name)
    x = given(network)
    unit = network.stride[0] if isinstance(network, CausalEncoder) else 1
    with torch.inference_mode():
        whole = network(x)
        for first in range(1, LATENTS):
            assert torch.equal(streamed(network, list(x.split((first * unit, x.shape[2] - first * unit), 2))), whole)
        for size in (1, 2, 3, 4):
            assert torch.equal(streamed(network, list(x.split(size * unit, 2))), whole)
        assert torch.equal(streamed(network, list(x.split([n * unit for n in (2, 1, 4, 1, 1)], 2))), whole)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_changes_no_state_and_items_stay_apart(name: str) -> None:
    network = made(name)
    x = given(network, batch=2)
    first, second = x.chunk(3, 2)[:2]
    with torch.inference_mode():
        _, state = network.step(first, network.start(2))
        out, _ = network.step(second, state)
        network.step(torch.zeros_like(second), state)
        assert torch.equal(network.step(second, state)[0], out)
        torch.testing.assert_close(network(x), torch.cat([network(item[None]) for item in x]), atol=5e-5, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_training_computes_the_same(name: str) -> None:
    network = made(name)
    x = given(network, 3)
    with torch.no_grad():
        whole = network(x)
        torch.testing.assert_close(network.train()(x), whole, atol=2e-5, rtol=1e-5)
        half = x.shape[2] // LATENTS * 4
        torch.testing.assert_close(
            streamed(network, list(x.split((half, x.shape[2] - half), 2))), whole, atol=2e-5, rtol=1e-5
        )


@pytest.mark.parametrize("name", [name for name in NETWORKS if "wavelet with attention" not in name])
def test_tiles_in_space_equal_the_whole(name: str) -> None:
    """Convolutions of another size may add in another order: 1e-5, and usually 0."""
    network = made(name)
    reach = network.reach[1]
    assert reach is not None
    step = network.stride[1] if isinstance(network, CausalEncoder) else 1
    scale = 1 if isinstance(network, CausalEncoder) else network.stride[1]
    size = sum(reach) + 3
    x = given(network, size + 4, 2)[..., : 2 * step]
    with torch.inference_mode():
        whole = network(x)
        for window in cut(size + 4, size, reach):
            source = window.scaled(step).source
            kept, target = window.scaled(scale).kept, window.scaled(scale).target
            found = network(x[..., source, :])[..., kept, :]
            torch.testing.assert_close(found, whole[..., target, :], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", [name for name in ENCODERS if name != "factorised with attention"])
def test_copies_of_the_first_frame_in_front_change_no_latent(name: str) -> None:
    """So a video is padded in front as an image is. Attention in time weighs a frame by how many copies it sees."""
    network = made(f"{name} encoder")
    x = given(network, count=3)
    unit = network.stride[0]
    x[:, :, :unit] = x[:, :, :1]
    with torch.inference_mode():
        longer = network(torch.cat((x[:, :, :unit], x[:, :, :unit], x), 2))
        torch.testing.assert_close(longer[:, :, 2:], network(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", DECODERS)
def test_equal_latents_give_equal_frames_where_networks_repeat(name: str) -> None:
    network = made(f"{name} decoder")
    z = given(network, count=1).expand(-1, -1, 4, -1, -1)
    with torch.inference_mode():
        frames = network(z).chunk(4, 2)
    for later in frames[1:]:
        torch.testing.assert_close(later, frames[0], atol=1e-5, rtol=0)


def test_a_state_is_bounded() -> None:
    def size(state: object) -> int:
        if isinstance(state, Tensor):
            return state.untyped_storage().nbytes()
        if isinstance(state, tuple):
            return sum(map(size, state))
        return sum(map(size, vars(state).values())) if isinstance(state, State) else 0

    for name in NETWORKS:
        network = made(name)
        sizes, state = [], network.start(1)
        with torch.inference_mode():
            for _ in range(8):
                _, state = network.step(given(network, count=1), state)
                sizes.append(size(state))
        assert sizes[-1] == sizes[-2] == sizes[-3], name


def test_quality_reaches_every_step() -> None:
    network = made("factorised decoder")
    z = given(network, batch=2)
    qualities = torch.tensor([3, 50])
    with torch.inference_mode():
        whole, state, outputs = network(z, qualities), network.start(2), []
        for piece in z.split(2, 2):
            out, state = network.step(piece, state, qualities)
            outputs.append(out)
    assert torch.equal(torch.cat(outputs, 2), whole)
    assert not torch.equal(network(z, 3)[1], whole[1])


def test_wrong_steps_are_refused() -> None:
    encoder, decoder = made("factorised encoder"), made("factorised decoder")
    with pytest.raises(InputError, match="expected a signal"):
        encoder.step(torch.zeros(1, 3, 3, 16, 16), encoder.start(1))
    with pytest.raises(InputError, match="expected latents"):
        decoder.step(torch.zeros(1, 7, 1, 2, 2), decoder.start(1))
    with pytest.raises(InputError, match="expected the state that start or a step has returned, got State"):
        decoder.step(torch.zeros(1, 8, 1, 2, 2), State())
    with pytest.raises(InputError, match="expected as many depths as widths"):
        FactorisedEncoder(8, (8, 16), (1,))
    with pytest.raises(InputError, match="expected patch to be an integer from 1 to 4"):
        FactorisedDecoder(8, patch=0)


@pytest.mark.parametrize("name", ["wavelet", "factorised"])
def test_codecs_of_video(name: str) -> None:
    encoder, decoder = made(f"{name} encoder"), made(f"{name} decoder")
    codec = Codec(encoder, FSQ(encoder.dim, (5, 5)), decoder).eval()
    x = given(encoder)
    with torch.inference_mode():
        codes = codec.encode(x)
        assert codes.shape == (1, 1, LATENTS, 2, 3)
        assert codec.decode(codes).shape == x.shape
    assert codec.bounded


def test_a_network_compiles_to_one_graph() -> None:
    torch.compiler.reset()
    network = made("factorised encoder")
    x = given(network, count=2)
    with torch.no_grad():
        compiled = torch.compile(network, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), network(x))
