import pytest
import torch
from torch import Tensor, nn

from narrows.codecs import VQ, Codec, LDMDecoder, LDMEncoder, LearnedCodebook, StraightThrough
from narrows.errors import InputError

RESIDUAL = {"shortcut": "conv_shortcut"}
ATTENTION = {"norm": "group_norm", "query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0"}


def part_of(theirs: dict[str, Tensor], prefix: str, names: dict[str, str]) -> dict[str, Tensor]:
    """The tensors below a prefix, under our names."""
    found = {key.removeprefix(prefix): value for key, value in theirs.items() if key.startswith(prefix)}
    for ours, its in names.items():
        found = {key.replace(f"{its}.", f"{ours}."): value for key, value in found.items()}
    return found


def renamed(theirs: nn.Module, levels: int, depth: int, attention: bool, blocks: str) -> dict[str, Tensor]:
    """The weights of diffusers' encoder ("down") or decoder ("up") under our names."""
    given, made = theirs.state_dict(), {}
    places = {"conv_in.": ("first.", {}), "conv_norm_out.": ("norm.", {}), "conv_out.": ("out.", {})}
    places |= {f"mid_block.resnets.{i}.": (f"middle.{2 * i}.", RESIDUAL) for i in range(2)}
    places["mid_block.attentions.0."] = ("middle.1.", ATTENTION)
    for level in range(levels):
        theirs_level, place = f"{blocks}_blocks.{level}", 0
        sees = attention and level == (levels - 1 if blocks == "down" else 0)
        for block in range(depth):
            places[f"{theirs_level}.resnets.{block}."] = (f"levels.{level}.{place}.", RESIDUAL)
            place += 1
            if sees:
                places[f"{theirs_level}.attentions.{block}."] = (f"levels.{level}.{place}.", ATTENTION)
                place += 1
        places[f"{theirs_level}.{blocks}samplers.0."] = (f"levels.{level}.{place}.", {})
    for prefix, (ours, names) in places.items():
        made |= {ours + key: value for key, value in part_of(given, prefix, names).items()}
    return made


def close(ours: Tensor, theirs: Tensor) -> None:
    """Equal but for 1e-5 of the largest."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("attention", [False, True])
@torch.no_grad()
def test_it_is_the_autoencoder_of_latent_diffusion(attention: bool) -> None:
    import diffusers

    torch.manual_seed(0)
    down, up = "DownEncoderBlock2D", "UpDecoderBlock2D"
    theirs = diffusers.AutoencoderKL(
        down_block_types=(down, down, "AttnDownEncoderBlock2D" if attention else down),
        up_block_types=("AttnUpDecoderBlock2D" if attention else up, up, up),
        block_out_channels=(8, 16, 32),
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=4,
    ).eval()
    encoder = LDMEncoder(8, 8, (1, 2, 4), 2, int(attention), 4)
    decoder = LDMDecoder(4, 8, (1, 2, 4), 2, int(attention), 4)
    encoder.load_state_dict(renamed(theirs.encoder, 3, 2, attention, "down"))
    decoder.load_state_dict(renamed(theirs.decoder, 3, 3, attention, "up"))
    x, z = torch.randn(2, 3, 32, 48), torch.randn(2, 4, 6, 8)
    close(encoder(x), theirs.encoder(x))
    close(decoder(z), theirs.decoder(z))


@torch.no_grad()
def test_with_a_codebook_it_is_the_vqgan_of_latent_diffusion() -> None:
    import diffusers

    torch.manual_seed(0)
    theirs = diffusers.VQModel(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        latent_channels=6,
        vq_embed_dim=4,
        num_vq_embeddings=32,
        norm_num_groups=4,
    ).eval()
    nn.init.normal_(theirs.quantize.embedding.weight, std=0.3)
    bottleneck = VQ(6, LearnedCodebook(4, 32), StraightThrough())
    codec = Codec(LDMEncoder(6, 8, (1, 2), 1, 0, 4), bottleneck, LDMDecoder(6, 8, (1, 2), 1, 0, 4)).eval()
    codec.encoder.load_state_dict(renamed(theirs.encoder, 2, 1, False, "down"))
    codec.decoder.load_state_dict(renamed(theirs.decoder, 2, 2, False, "up"))
    for ours, conv in (
        (bottleneck.projection.down_map, theirs.quant_conv),
        (bottleneck.projection.up_map, theirs.post_quant_conv),
    ):
        ours.weight.copy_(conv.weight[:, :, 0, 0])
        ours.bias.copy_(conv.bias)
    bottleneck.codebook.vectors.copy_(theirs.quantize.embedding.weight)
    x = torch.randn(2, 3, 16, 24)
    out = codec(x)
    assert len(out.quantized.codes.unique()) > 4
    close(out.x, theirs(x).sample)


def test_the_defaults_are_those_of_vqgan() -> None:
    encoder, decoder = LDMEncoder(), LDMDecoder()
    assert encoder.stride == decoder.stride == (16, 16)
    weights = [sum(p.numel() for p in network.parameters()) for network in (encoder, decoder)]
    assert weights == [29_298_176, 42_449_795]


def test_one_pixel_is_seen_everywhere() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 16, 48, requires_grad=True)
    encoder = LDMEncoder(4, 8, (1, 2), 1, 0, 4)
    (gradient,) = torch.autograd.grad(encoder(x)[..., 0, 0].sum(), x)
    assert encoder.reach == (None, None)
    assert (gradient != 0).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: LDMEncoder(width=48),
        lambda: LDMEncoder(multipliers=()),
        lambda: LDMEncoder(multipliers=(1,) * 9),
        lambda: LDMDecoder(attention=6),
        lambda: LDMDecoder(depth=0),
        lambda: LDMEncoder(4, 8, (1, 2), 1, 0, 4)(torch.zeros(1, 3, 8, 9)),
    ],
)
def test_what_makes_no_network_is_refused(make) -> None:
    with pytest.raises(InputError, match=r"expected|wanted"):
        make()
