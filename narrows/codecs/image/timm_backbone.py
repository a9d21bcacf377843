"""A frozen image network of timm, which other parts and losses are built on."""

import difflib
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from narrows.codecs.checks import check_integers
from narrows.errors import InputError, shortened
from narrows.parts import part


@part("timm-backbone")
class TimmBackbone(nn.Module):
    """A frozen image network of timm, which takes images (B, C, H, W) in [-1, 1].

    Weights are random until they are loaded: from a checkpoint, or by `narrows.recipes.losses.load_weights`. Nothing is
    downloaded here. The network stays in eval mode and its parameters get no gradients; the input does.

    A vision transformer with learned positions takes images of any size, sides multiples of its patch, if timm can
    resample them (`dynamic_img_size`). A convolutional network takes images of any size. Others take one size.

    Args:
        name: Name in timm, with or without the tag of the weights ("resnet18", "vit_small_patch14_dinov2.lvd142m").
        channels: C.

    Attributes:
        dim: Length of the embeddings.
        widths: Channels of each stage of `features`.
        strides: Pixels of the image per position of each stage.
        input_size: The only height and width of images that the network takes; None for any.

    Raises:
        InputError: For a name that timm does not know, and for a network without intermediate features.
    """

    kind: ClassVar[str] = "backbone"
    mean: Tensor
    std: Tensor

    def __init__(self, name: str = "vit_small_patch14_dinov2", channels: int = 3) -> None:
        super().__init__()
        check_integers(1, 64, channels=channels)
        self.name, self.channels = name, channels
        self.network = _created(name, channels).requires_grad_(False)
        config = self.network.pretrained_cfg
        fixed = config.get("fixed_input_size") and not getattr(self.network, "dynamic_img_size", False)
        self.input_size: tuple[int, int] | None = tuple(config["input_size"][1:]) if fixed else None
        self.dim: int = self.network.num_features
        self.widths = tuple(int(stage["num_chs"]) for stage in self.network.feature_info)
        self.strides = tuple(int(stage["reduction"]) for stage in self.network.feature_info)
        for key in ("mean", "std"):
            values = torch.tensor(config[key])
            values = values if len(values) == channels else values.mean().expand(channels)
            self.register_buffer(key, values.reshape(1, channels, 1, 1).clone(), persistent=False)
        self.train(False)

    def train(self, mode: bool = True) -> "TimmBackbone":
        """Stay in eval mode for any `mode`."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """Images to embeddings (B, dim)."""
        out: Tensor = self.network(self.preprocess(x))
        return out

    def features(self, x: Tensor) -> list[Tensor]:
        """Images to the features (B, widths[i], H / strides[i], W / strides[i]) of all stages."""
        out: list[Tensor] = self.network.forward_intermediates(self.preprocess(x), intermediates_only=True)
        return out

    def tokens(self, x: Tensor) -> Tensor:
        """Images to the features of the last stage, after its norm: the patch tokens of a vision transformer."""
        (out,) = self.network.forward_intermediates(self.preprocess(x), indices=1, norm=True, intermediates_only=True)
        tokens: Tensor = out
        return tokens

    def preprocess(self, x: Tensor) -> Tensor:
        """Images in [-1, 1], normalized as the network was trained on them.

        Raises:
            InputError: For a size that the network does not take.
        """
        if self.input_size not in (None, tuple(x.shape[2:])):
            raise InputError(f"expected images of {self.input_size} for {self.name}, got {tuple(x.shape[2:])}")
        return ((x + 1) / 2 - self.mean) / self.std


def check_timm_name(name: str) -> None:
    """Raise InputError, with the nearest name, unless timm makes a network of this name without a download."""
    import timm

    if not isinstance(name, str) or ":" in name or not timm.is_model(name):
        close = difflib.get_close_matches(str(name), timm.list_models(), 1, 0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"expected a network that timm.list_models() lists, got {shortened(name)}{hint}")


def _created(name: str, channels: int) -> Any:
    """A network with random weights and without a classifier."""
    import timm  # takes seconds to import

    check_timm_name(name)
    options: dict[str, Any] = {"pretrained": False, "num_classes": 0, "in_chans": channels}
    try:
        try:
            network: Any = timm.create_model(name, dynamic_img_size=True, **options)
        except TypeError:  # the network has no such option
            network = timm.create_model(name, **options)
    except RuntimeError as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"expected a network that timm can make, got {shortened(name)} ({reason})") from error
    if not hasattr(network, "forward_intermediates") or not getattr(network, "feature_info", None):
        raise InputError(f"expected a network with intermediate features, got {name!r}; choose e.g. 'resnet18'")
    return network
