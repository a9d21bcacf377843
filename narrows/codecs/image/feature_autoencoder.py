"""Feature auto-encoder (FAE, "One Layer Is Enough", arXiv 2512.07829): a frozen vision encoder with few channels.

(B, C, H, W) ─ frozen backbone ─▶ features (B, F, h, w) ─ one attention layer ─▶ (B, D, h, w)            FeatureEncoder
(B, D, h, w) ─ transformer ─▶ features (B, F, h, w) ─ pixel decoder ─▶ (B, C, H, W)                      FeatureDecoder

Between them is a bottleneck with few channels, such as `Gaussian(64, 32, Rounding())`. Images of any size are taken
whole, since attention sees all positions: a tokenizer pads them to whole blocks, and the backbone resamples its learned
positions to the grid; the feature decoder has rotary positions.
"""

from typing import Any

import torch
from torch import Tensor, nn

from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.image.timm_backbone import TimmBackbone
from narrows.errors import InputError
from narrows.parts import part


class MergedAttention(nn.Module):
    """One attention layer whose consecutive linear layers are merged, from features to latents (paper, section 3).

        features ─ linear ─▶ queries, keys, values, skip ─▶ linear(GELU(attention + skip)) ─▶ latents

    All four are of hidden = heads × head_dim channels, more than the features have: the output projection of the
    attention and the projection of its values, for instance, are one matrix. With F = 1536, 24 heads of 256 and D = 64
    it has the 38.17 million parameters of the paper, which does not name the activation.

    Args:
        features: F.
        dim: D.
        heads: of the attention.
        head_dim: channels of a head.
    """

    def __init__(self, features: int, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, heads=heads, head_dim=head_dim)
        self.heads = heads
        self.project_in = nn.Linear(features, 4 * heads * head_dim)
        self.project_out = nn.Linear(heads * head_dim, dim)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, F, h, w) to latents (B, D, h, w)."""
        size = features.shape[2:]
        projected = self.project_in(features.flatten(2).transpose(1, 2))
        *heads, skip = projected.chunk(4, -1)
        q, k, v = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in heads)
        attended = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        out: Tensor = self.project_out(nn.functional.gelu(attended + skip))
        return out.transpose(1, 2).unflatten(2, size)


@part("feature-encoder")
class FeatureEncoder(Encoder):
    """Images (B, C, H, W) in [-1, 1], sides multiples of the stride, to latents (B, dim, H / stride, W / stride).

    Args:
        backbone: Frozen network, whose channels are C; a vision transformer, or any other that takes all image sizes.
        dim: D of the latents.
        heads: of the attention layer.
        head_dim: channels of a head of it.
        stride: Pixels per position. If it is not the backbone's, images are resized for the backbone: the paper takes
            256 × 256 pixels to the 224 × 224 of a network with patches of 14.

    Raises:
        InputError: For anything else than a TimmBackbone, and for one that takes images of one size only.
    """

    reach: tuple[Reach, ...] = (None, None)

    def __init__(
        self, backbone: TimmBackbone, dim: int = 64, heads: int = 24, head_dim: int = 256, stride: int = 16
    ) -> None:
        super().__init__()
        if not isinstance(backbone, TimmBackbone):
            raise InputError(f"expected backbone to be a TimmBackbone, got {type(backbone).__name__}")
        if backbone.input_size is not None:
            size = f"{backbone.name!r}, which takes images of {backbone.input_size} only"
            raise InputError(f"expected a backbone for all image sizes, got {size}; choose a plain vision transformer")
        check_integers(1, 256, stride=stride)
        self.channels, self.dim, self.stride = backbone.channels, dim, (stride, stride)
        self.attention = MergedAttention(backbone.widths[-1], dim, heads, head_dim)
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, dim, H / stride, W / stride)."""
        latents: Tensor = self.attention(self.features(x))
        return latents

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the features of the backbone (B, F, H / stride, W / stride)."""
        self.check_signal(x)
        patch = self.backbone.strides[-1]
        if patch != self.stride[0]:
            size = [side // self.stride[0] * patch for side in x.shape[2:]]
            x = nn.functional.interpolate(x.float(), size, mode="bicubic", antialias=True).to(x.dtype)
        return self.backbone.tokens(x)


@part("feature-decoder")
class FeatureDecoder(Decoder):
    """Latents (B, dim, h, w) to images (B, C, H, W) by way of features (B, F, h, w).

    The feature decoder has blocks with RMSNorm, rotary positions and SwiGLU (4096 hidden channels for 1536).

    Args:
        pixels: Decoder from features to images; its dim is F, and C and stride are its own.
        dim: D of the latents.
        depth: Blocks of the feature decoder.
        heads: of its attention, of which each has F / heads channels, a multiple of 4.

    Raises:
        InputError: For anything else than a decoder of images as `pixels`, and for heads that do not fit it.
    """

    reach: tuple[Reach, ...] = (None, None)

    def __init__(self, pixels: Decoder, dim: int = 64, depth: int = 6, heads: int = 24) -> None:
        super().__init__()
        from timm.layers.norm import RmsNorm  # takes seconds to import
        from timm.models.eva import EvaBlock

        if not isinstance(pixels, Decoder) or len(pixels.stride) != 2:
            raise InputError(f"expected pixels to be a decoder of images, got {type(pixels).__name__}")
        check_integers(1, MAX_SIZE, dim=dim, heads=heads)
        check_integers(1, 1024, depth=depth)
        width = pixels.dim
        if width % (4 * heads):
            raise InputError(f"expected heads of a multiple of 4 channels, got {heads} heads for {width} channels")
        self.channels, self.dim, self.stride, self.head_dim = pixels.channels, dim, pixels.stride, width // heads
        options: dict[str, Any] = {"attn_type": "rope", "swiglu_mlp": True, "mlp_ratio": 8 / 3, "norm_layer": RmsNorm}
        self.embed = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(EvaBlock(width, heads, num_prefix_tokens=0, **options) for _ in range(depth))
        self.norm = RmsNorm(width)
        self.out = nn.Linear(width, width)
        self.pixels = pixels

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, dim, h, w) to (B, C, stride h, stride w)."""
        image: Tensor = self.pixels(self.features(z))
        return image

    def features(self, z: Tensor) -> Tensor:
        """Latents (B, dim, h, w) to features (B, F, h, w)."""
        from timm.layers.pos_embed_sincos import build_rotary_pos_embed

        size = z.shape[2:]
        angles = build_rotary_pos_embed(list(size), dim=self.head_dim, in_pixels=False, device=z.device)
        positions = torch.cat(angles, -1)
        x = self.embed(z.flatten(2).transpose(1, 2))
        for block in self.blocks:
            x = block(x, rope=positions)
        out: Tensor = self.out(self.norm(x))
        return out.transpose(1, 2).unflatten(2, size)
