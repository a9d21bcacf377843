"""Trained image networks of timm for losses, with weights from the Hugging Face hub or from a file."""

import logging
from pathlib import Path

from torch import Tensor, nn

from narrows.codecs.image.timm_backbone import TimmBackbone
from narrows.errors import ModelError
from narrows.recipes.initialization.weight_file import load_weight_file


class Backbone(TimmBackbone):
    """A frozen, trained image network of timm for losses, which takes images (B, 3, H, W) in [-1, 1] of any size.

    Images are resized for a network that was trained at one size.

    Args:
        name: Name in timm, with or without the tag of the weights ("vgg16.tv_in1k").
        weights: A .safetensors file with timm's tensor names. Without it the weights are downloaded from the hub.

    Raises:
        InputError: For a name that timm does not know, or weights that are not a .safetensors file.
        ModelError: If the weights cannot be downloaded or do not fit the network.
    """

    def __init__(self, name: str, weights: Path | None = None) -> None:
        super().__init__(name)
        load_weights(self, weights)
        config = self.network.pretrained_cfg
        if config.get("fixed_input_size"):
            self.input_size = tuple(config["input_size"][1:])

    def preprocess(self, x: Tensor) -> Tensor:
        """Images in [-1, 1], normalized and of the size that the network was trained with."""
        if self.input_size not in (None, tuple(x.shape[2:])):
            x = nn.functional.interpolate(x, self.input_size, mode="bicubic", antialias=True)
        return super().preprocess(x)


def load_weights(backbone: TimmBackbone, weights: Path | None = None) -> None:
    """Load trained weights into a network of timm.

    Args:
        backbone: The network, which stays frozen.
        weights: A .safetensors file with timm's tensor names. Without it the weights are downloaded from the hub.

    Raises:
        InputError: For weights that are not a .safetensors file.
        ModelError: If the weights cannot be downloaded or do not fit the network.
    """
    load_weight_file(backbone.network, weights or _download(backbone.name), backbone.name)


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
