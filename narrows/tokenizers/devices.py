"""Which devices a codec runs on."""

import copy
import re

import torch

from narrows.codecs.bottlenecks.entropy.base import EntropyModel
from narrows.codecs.codec import Codec
from narrows.errors import InputError, shortened

MAX_REASON = 160  # characters of a message of PyTorch


def check_device(device: str | torch.device) -> None:
    """Raise InputError unless tensors can be made on this device and copied from it."""
    try:
        torch.zeros(1, device=torch.device(device)).cpu()
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        reason = re.split(r"[.:;]? ?\n|\. ", str(error))[0].rstrip(".")[:MAX_REASON]
        raise InputError(
            f"expected an available device, got {shortened(str(device))} ({reason}); use cpu or auto"
        ) from error


def runs_on(codec: Codec, device: torch.device | str) -> bool:
    """Whether a codec encodes and decodes a small signal on a device. MPS, for example, has no float64."""
    codec = copy.deepcopy(codec)
    multiple, index = (codec.bottleneck.multiple, 0) if isinstance(codec.bottleneck, EntropyModel) else (1, None)
    x = torch.zeros(1, codec.channels, *(stride * multiple for stride in codec.stride))
    try:
        with torch.inference_mode():
            codec.to(device)
            codec(x.to(device), index).x.cpu()
        return True
    except (RuntimeError, TypeError):  # NotImplementedError is a RuntimeError
        return False
