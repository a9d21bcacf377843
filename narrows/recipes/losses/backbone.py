"""Trained picture networks of timm, which losses look through: by name from the hub, or with weights from a file."""

import difflib
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from narrows.errors import InputError, ModelError


class Backbone(nn.Module):
    """A frozen network of timm that takes pictures (B, 3, H, W) in [-1, 1] of any size.

    name: of the network in timm, with or without the tag of its weights ("vgg16.tv_in1k"). weights: a .safetensors file
    of them, under timm's names; fetched from the hub unless given.

    Raises InputError for a name that timm does not know and another kind of file, ModelError where weights cannot be
    fetched or do not fit.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, weights: Path | None = None) -> None:
        super().__init__()
        self.network = _loaded(name, weights).requires_grad_(False)
        facts = self.network.pretrained_cfg
        self.size: tuple[int, int] | None = facts["input_size"][1:] if facts.get("fixed_input_size") else None
        self.dim: int = self.network.num_features
        for key, fact in (("mean", "mean"), ("deviation", "std")):
            self.register_buffer(key, torch.tensor(facts[fact]).view(1, 3, 1, 1), persistent=False)
        self.train(False)

    def train(self, mode: bool = True) -> "Backbone":
        """It never trains: norms and dropout stay as in use."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures to one vector each, (B, dim)."""
        out: Tensor = self.network(self._prepared(x))
        return out

    def layers(self, x: Tensor) -> list[Tensor]:
        """Pictures to the features (B, C, h, w) of several layers."""
        out: list[Tensor] = self.network.forward_intermediates(self._prepared(x), intermediates_only=True)
        return out

    def _prepared(self, x: Tensor) -> Tensor:
        x = ((x + 1) / 2 - self.mean) / self.deviation
        if self.size is None or self.size == tuple(x.shape[2:]):
            return x
        return nn.functional.interpolate(x, self.size, mode="bicubic", antialias=True)


def _loaded(name: str, weights: Path | None) -> Any:
    import timm
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), 1, 0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"timm has no network {name!r}{hint} (timm.list_models() lists them)")
    if weights is None:
        weights = _fetched(name)
    elif weights.suffix != ".safetensors" or not weights.is_file():
        raise InputError(f"{weights} given as weights of {name}, a .safetensors file that is there wanted")
    network = timm.create_model(name, num_classes=0)
    try:
        missing = network.load_state_dict(load_file(weights), strict=False).missing_keys  # and not its classifier
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ModelError(f"{weights} does not hold the weights of {name} ({_short(error)}); give others") from error
    if lacking := [key for key in missing if not key.endswith("num_batches_tracked")]:
        raise ModelError(f"{weights} does not hold the weights of {name} (it lacks {lacking[0]}); give others")
    if not all(bool(p.isfinite().all()) for p in network.parameters()):
        raise ModelError(f"{weights} holds NaN or infinity; give other weights of {name}")
    return network


def _fetched(name: str) -> Path:
    """The place of a network's weights, which are fetched if they are not there. Nothing is ever unpickled."""
    import timm
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of httpx or requests

    logger = logging.getLogger("huggingface_hub")
    said = logger.level
    logger.setLevel(logging.ERROR)  # its attempts are not told, what it ends with is
    try:
        facts = timm.get_pretrained_cfg(name)
        return Path(hf_hub_download(str(facts and facts.hf_hub_id), "model.safetensors"))
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        advice = "fetch them where there is a network, or name a .safetensors file of them"
        raise ModelError(f"the weights of {name} cannot be fetched ({_short(error)}); {advice}") from error
    finally:
        logger.setLevel(said)


def _short(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".:")[:160] or type(error).__name__
