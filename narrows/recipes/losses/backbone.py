"""Trained image networks of timm for losses, with weights from the Hugging Face hub or from a file."""

import difflib
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from narrows.errors import InputError, ModelError


class Backbone(nn.Module):
    """A frozen image network of timm, which takes images (B, 3, H, W) in [-1, 1] of any size.

    Args:
        name: Name in timm, with or without the tag of the weights ("vgg16.tv_in1k").
        weights: A .safetensors file with timm's tensor names. Without it the weights are downloaded from the hub.

    Raises:
        InputError: For a name that timm does not know, or weights that are not a .safetensors file.
        ModelError: If the weights cannot be downloaded or do not fit the network.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, weights: Path | None = None) -> None:
        super().__init__()
        self.network = _load(name, weights).requires_grad_(False)
        config = self.network.pretrained_cfg
        self.input_size: tuple[int, int] | None = config["input_size"][1:] if config.get("fixed_input_size") else None
        self.dim: int = self.network.num_features
        for key in ("mean", "std"):
            self.register_buffer(key, torch.tensor(config[key]).view(1, 3, 1, 1), persistent=False)
        self.train(False)

    def train(self, mode: bool = True) -> "Backbone":
        """Stay in eval mode for any `mode`."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """Compute embeddings (B, dim) of images."""
        out: Tensor = self.network(self._preprocess(x))
        return out

    def features(self, x: Tensor) -> list[Tensor]:
        """Compute features (B, C, h, w) of several layers from images."""
        out: list[Tensor] = self.network.forward_intermediates(self._preprocess(x), intermediates_only=True)
        return out

    def _preprocess(self, x: Tensor) -> Tensor:
        x = ((x + 1) / 2 - self.mean) / self.std
        if self.input_size is None or self.input_size == tuple(x.shape[2:]):
            return x
        return nn.functional.interpolate(x, self.input_size, mode="bicubic", antialias=True)


def _load(name: str, weights: Path | None) -> Any:
    import timm
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), 1, 0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"expected a network that timm.list_models() lists, got {name!r}{hint}")
    if weights is None:
        weights = _download(name)
    elif weights.suffix != ".safetensors" or not weights.is_file():
        raise InputError(f"expected an existing .safetensors file as weights of {name}, got {str(weights)!r}")
    network = timm.create_model(name, num_classes=0)
    try:
        missing = network.load_state_dict(load_file(weights), strict=False).missing_keys  # its classifier is not used
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ModelError(f"expected the weights of {name} in {weights}, got others ({_short(error)})") from error
    if lacking := [key for key in missing if not key.endswith("num_batches_tracked")]:
        raise ModelError(f"expected the weights of {name} in {weights}, got none of {lacking[0]!r}")
    if not all(bool(p.isfinite().all()) for p in network.parameters()):
        raise ModelError(f"expected finite weights of {name} in {weights}, got NaN or infinity")
    return network


def _download(name: str) -> Path:
    """Path of a network's .safetensors file, which is downloaded if it is not cached. Nothing is unpickled."""
    import timm
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of httpx or requests

    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)  # no warnings about retries; the final error is reported
    try:
        config = timm.get_pretrained_cfg(name)
        return Path(hf_hub_download(str(config and config.hf_hub_id), "model.safetensors"))
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        advice = "run it once with a network connection, or give a .safetensors file of them"
        raise ModelError(f"cannot download the weights of {name} ({_short(error)}); {advice}") from error
    finally:
        logger.setLevel(level)


def _short(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".:")[:160] or type(error).__name__
