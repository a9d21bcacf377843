"""A frozen w2v-BERT 2.0 (Seamless Communication, arXiv 2312.05187, section 3.2.1), the semantic branch of encoders.

(B, T) ── Kaldi's features, two frames together ──▶ conformer layers ──▶ (B, width, F), one for 320 samples
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.kaldi import KaldiFeatures
from narrows.errors import InputError
from narrows.extras import needs_extra
from narrows.parts import part

MELS, FOLD = 80, 2  # bands of a frame, frames together
MAX_LAYERS = 128


@part("w2v-bert")
class W2VBert(nn.Module):
    """The first layers of w2v-BERT, as transformers has them, without gradients and always in eval mode.

    The published sizes are 16 layers of 24, width 1024, 16 heads, hidden 4096. Attention is over the whole recording.

    Args:
        layers: number of conformer layers.
        width: length of the features.
        heads: of attention.
        hidden: hidden channels of feed-forward networks.

    Raises:
        InputError: if transformers is not installed.
    """

    kind: ClassVar[str] = "backbone"

    def __init__(self, layers: int = 2, width: int = 64, heads: int = 4, hidden: int = 128) -> None:
        super().__init__()
        check_integers(1, MAX_LAYERS, layers=layers)
        check_integers(1, MAX_SIZE, width=width, heads=heads, hidden=hidden)
        if width % heads:
            raise InputError(f"expected a width that {heads} heads can share, got {width}")
        self.width = width
        self.features = KaldiFeatures(MELS)
        self.model = _created(layers, width, heads, hidden).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "W2VBert":
        """Stay in eval mode for any `mode`."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Audio (B, T) of 16 kHz to features (B, width, F), F whole pairs of frames; at least 720 samples."""
        features = self.features(x)
        pairs = features[:, : features.shape[1] // FOLD * FOLD].unflatten(1, (-1, FOLD)).flatten(2)
        dtype = next(self.model.parameters()).dtype
        hidden: Tensor = self.model(pairs.to(dtype)).last_hidden_state
        return hidden.transpose(1, 2)


def _created(layers: int, width: int, heads: int, hidden: int) -> Any:
    """The network of transformers, with random weights; nothing is downloaded."""
    with needs_extra("semantic"):
        from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

    config = Wav2Vec2BertConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=hidden,
        feature_projection_input_dim=MELS * FOLD,
        mask_time_prob=0.0,  # without masks, which are for pre-training
    )
    return Wav2Vec2BertModel(config)
