"""A frozen HuBERT (Hsu et al., arXiv 2106.07447) or WavLM (arXiv 2110.13900), the semantic branch of encoders.

(B, T) ── convolutions, stride 320 ──▶ transformer layers ── mean of the input and all outputs ──▶ (B, width, F)
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.errors import InputError
from narrows.extras import needs_extra
from narrows.parts import part

RATE = 16_000  # Hz
HOP = 320  # samples of a feature
MARGIN = 160  # samples before and after the signal, for a feature of each whole 320 samples
CONVOLUTIONS = 7
POSITIONS, GROUPS = 128, 16  # kernel and groups of the convolution that encodes positions
MAX_LAYERS = 128


@part("hubert")
class HuBERT(nn.Module):
    """HuBERT as transformers has it, without gradients and always in eval mode. Attention sees the whole recording.

    The published sizes are 12 layers, width 768, 12 heads, hidden 3072, 512 channels.

    Args:
        layers: number of transformer layers.
        width: length of the features, a multiple of 16.
        heads: of attention.
        hidden: hidden channels of feed-forward networks.
        channels: of the convolutions.

    Raises:
        InputError: if transformers is not installed.
    """

    kind: ClassVar[str] = "backbone"
    names: ClassVar[tuple[str, str]] = ("HubertConfig", "HubertModel")  # of the classes of transformers

    def __init__(self, layers: int = 2, width: int = 64, heads: int = 4, hidden: int = 128, channels: int = 32) -> None:
        super().__init__()
        check_integers(1, MAX_LAYERS, layers=layers)
        check_integers(1, MAX_SIZE, width=width, heads=heads, hidden=hidden, channels=channels)
        if width % heads or width % GROUPS:
            raise InputError(f"expected a width that is a multiple of {GROUPS}, and of {heads} heads, got {width}")
        self.width = width
        self.model = self._created(layers, width, heads, hidden, channels).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "HuBERT":
        """Stay in eval mode for any `mode`."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Audio (B, F × 320) of 16 kHz to features (B, width, F)."""
        x = nn.functional.pad(x, (MARGIN, MARGIN)).to(next(self.model.parameters()).dtype)
        states = self.model(x, output_hidden_states=True).hidden_states
        mean: Tensor = torch.stack(states).mean(0)
        return mean.transpose(1, 2)

    def _created(self, layers: int, width: int, heads: int, hidden: int, channels: int) -> Any:
        """The network of transformers, with random weights; nothing is downloaded."""
        with needs_extra("semantic"):
            import transformers

        config, model = (getattr(transformers, name) for name in self.names)
        network = model(
            config(
                num_hidden_layers=layers,
                hidden_size=width,
                num_attention_heads=heads,
                intermediate_size=hidden,
                conv_dim=(channels,) * CONVOLUTIONS,
                num_conv_pos_embeddings=POSITIONS,
                num_conv_pos_embedding_groups=GROUPS,
                mask_time_prob=0.0,  # without masks, which are for pre-training
            )
        )
        positions = nn.Conv1d(width, width, POSITIONS, padding=POSITIONS // 2, groups=GROUPS)
        network.encoder.pos_conv_embed.conv = positions  # without weight norm, which the loader folds
        return network


@part("wavlm")
class WavLM(HuBERT):
    """WavLM as transformers has it; see HuBERT."""

    names = ("WavLMConfig", "WavLMModel")

    def __init__(self, layers: int = 2, width: int = 64, heads: int = 4, hidden: int = 128, channels: int = 32) -> None:
        super().__init__(layers, width, heads, hidden, channels)
