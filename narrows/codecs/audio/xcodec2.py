"""The networks of X-Codec 2 (Ye et al., arXiv 2502.04128, section 3.1) and NeuCodec (arXiv 2509.09550).

          ┌─ w2v-BERT ─ convolutions ─┐
    x ────┤                           ├─ linear ─▶ latents
          └─ BigCodec's convolutions ─┘

    latents ─ linear ─ conv 7 ─ 2 residual ─ transformer ─ 2 residual ─ norm ─ magnitudes, phases ─ inverse STFT ─▶ x

In the authors' code, queries and keys are rotated along the axis of heads instead of time. Both of a head then get the
same rotation, which their products do not see: the transformer does not know positions. Nothing is rotated here.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from narrows.codecs.audio.bigcodec import stages
from narrows.codecs.audio.dac import check_sizes
from narrows.codecs.audio.w2v_bert import W2VBert
from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.alias_free import alias_free_snake
from narrows.codecs.layers.istft import ISTFTHead
from narrows.codecs.layers.kaldi import RATE
from narrows.codecs.layers.resample import Resample
from narrows.codecs.layers.resnet import ResidualBlock
from narrows.errors import InputError
from narrows.parts import part

MARGIN = 160  # samples before and after the signal for centred features
EPSILON = 1e-6
EMBEDDING = 7  # kernel of the first convolution of the decoder
MAX_DEPTH = 256


class SemanticAdapter(nn.Module):
    """Semantic features (B, C, F) to the same shape: four convolutions of kernel 3.

    The residual is added to the rectified features, as the authors' ReLU works in place.

    Args:
        width: C.
    """

    def __init__(self, width: int) -> None:
        super().__init__()

        def conv(bias: bool) -> nn.Conv1d:
            return nn.Conv1d(width, width, 3, padding=1, bias=bias)

        self.initial_conv = conv(False)
        self.residual_blocks = nn.Sequential(nn.Identity(), conv(True), nn.ReLU(), conv(True))
        self.final_conv = conv(False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to the same shape."""
        h = self.initial_conv(x).relu()
        out: Tensor = self.final_conv(self.residual_blocks(h) + h)
        return out


@part("xcodec2-encoder")
class XCodec2Encoder(Encoder):
    """Mono audio (B, 1, T), T a multiple of the stride, to latents (B, semantic width + dim, T / stride).

    Args:
        width: channels of the first convolution; each stage doubles them.
        strides: of the stages, at 16 kHz; their product is 320, the samples of a semantic feature.
        acoustic: channels of the acoustic features.
        semantic: the semantic branch; by default a small W2VBert.
        rate: sample rate of the audio in Hz, 16 kHz or one that is resampled to it.
        centred: whether semantic features are those of the middle of each latent's samples (X-Codec 2), else of its
            first ones and of later ones (NeuCodec, where a latent's worth of zeros is put after the signal).
    """

    def __init__(
        self,
        width: int = 48,
        strides: Sequence[int] = (2, 2, 4, 4, 5),
        acoustic: int = 1024,
        semantic: W2VBert | None = None,
        rate: int = RATE,
        centred: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(width, strides, acoustic)
        self.samples = prod(strides)  # samples of a latent at 16 kHz
        if self.samples != 2 * MARGIN:
            raise InputError(f"expected strides of a product of {2 * MARGIN}, got {tuple(strides)}")
        self.resample = Resample(rate, RATE)
        if rate * self.samples % RATE:
            raise InputError(f"expected a rate at which a latent has whole samples, got {rate}")
        self.semantic = W2VBert() if semantic is None else semantic
        if not isinstance(self.semantic, W2VBert):
            raise InputError(f"expected a W2VBert as semantic, got {type(semantic).__name__}")
        self.channels, self.stride = 1, (rate * self.samples // RATE,)
        self.dim, self.centred = acoustic + self.semantic.width, bool(centred)
        widest = width << len(strides)
        self.conv_blocks = nn.Sequential(*stages(width, strides))
        self.conv_final_block = nn.Sequential(alias_free_snake(widest), nn.Conv1d(widest, acoustic, 3, padding=1))
        self.adapter = SemanticAdapter(self.semantic.width)
        self.fc_prior = nn.Linear(self.dim, self.dim)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Unbounded: semantic features are normalized over the recording, and attend to all of it."""
        return (None,)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T) to (B, semantic width + acoustic, T / stride)."""
        self.check_signal(x)
        return self.at_16_khz(self.resample(x))

    def at_16_khz(self, x: Tensor) -> Tensor:
        """Audio (B, 1, F × 320) of 16 kHz to latents (B, semantic width + acoustic, F)."""
        count = x.shape[2] // self.samples
        after = 0 if self.centred else self.samples
        x = nn.functional.pad(x, (0, after))
        margins = (MARGIN, MARGIN) if self.centred else (0, 0)
        semantic = self.adapter(self.semantic(nn.functional.pad(x[:, 0], margins)).to(x.dtype))
        acoustic = self.conv_final_block(self.conv_blocks(x))[..., :count]
        return self.fc_prior(torch.cat([semantic, acoustic], 1).transpose(1, 2)).transpose(1, 2)


class Attention(nn.Module):
    """(B, F, width) to the same: attention over all positions, which does not know where they are."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width, bias=False)
        self.c_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.c_attn(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, h, F, d) each
        out: Tensor = self.c_proj(
            nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        )
        return out


class FeedForward(nn.Module):
    """(B, F, width) to the same: two linear layers with a SiLU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden, bias=False)
        self.fc2 = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(nn.functional.silu(self.fc1(x)))
        return out


class TransformerBlock(nn.Module):
    """(B, F, width) to the same: attention and a two-layer network, each after a norm.

    Args:
        width: length of the vectors.
        heads: of attention.
        hidden: hidden channels of the two-layer network.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.att_norm, self.ffn_norm = nn.RMSNorm(width, EPSILON), nn.RMSNorm(width, EPSILON)
        self.att = Attention(width, heads)
        self.mlp = FeedForward(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, width) to the same shape."""
        x = x + self.att(self.att_norm(x))
        out: Tensor = x + self.mlp(self.ffn_norm(x))
        return out


@part("xcodec2-decoder")
class XCodec2Decoder(Decoder):
    """Latents (B, dim, F) to mono audio (B, 1, F × hop).

    Args:
        dim: D of the latents.
        width: channels inside, a multiple of 32.
        depth: number of transformer blocks.
        heads: of attention.
        hidden: hidden channels of the two-layer networks.
        hop: samples of a latent, the stride.
    """

    def __init__(
        self,
        dim: int = 2048,
        width: int = 1024,
        depth: int = 12,
        heads: int = 16,
        hidden: int = 4096,
        hop: int = 320,
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, width=width, heads=heads, hidden=hidden, hop=hop)
        check_integers(1, MAX_DEPTH, depth=depth)
        if width % heads:
            raise InputError(f"expected a width that {heads} heads can share, got {width}")
        self.channels, self.dim, self.stride = 1, dim, (hop,)
        self.fc_post_a = nn.Linear(dim, width)
        self.embed = nn.Conv1d(width, width, EMBEDDING, padding=EMBEDDING // 2)
        self.prior_net = nn.Sequential(ResidualBlock(width), ResidualBlock(width))
        self.transformers = nn.Sequential(*(TransformerBlock(width, heads, hidden) for _ in range(depth)))
        self.post_net = nn.Sequential(ResidualBlock(width), ResidualBlock(width))
        self.final_layer_norm = nn.LayerNorm(width, EPSILON)
        self.head = ISTFTHead(width, 4 * hop, hop)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Unbounded: norms and attention see the whole signal."""
        return (None,)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, dim, F) to (B, 1, F × hop)."""
        if z.ndim != 3 or z.shape[1] != self.dim or 0 in z.shape:
            raise InputError(f"expected latents (B, {self.dim}, F) with no empty axis, got {tuple(z.shape)}")
        h = self.prior_net(self.embed(self.fc_post_a(z.transpose(1, 2)).transpose(1, 2)))
        h = self.post_net(self.transformers(h.transpose(1, 2)).transpose(1, 2))
        x: Tensor = self.head(self.final_layer_norm(h.transpose(1, 2)))
        return x[:, None]
