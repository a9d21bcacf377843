"""Trained weights of a network from a .safetensors file. Nothing is unpickled."""

from pathlib import Path

from torch import nn

from narrows.errors import InputError, ModelError


def load_weight_file(network: nn.Module, path: Path, name: str) -> None:
    """Load all tensors of a network; others in the file are not used.

    Counts of the batches of batch norms may be missing, since they change nothing in eval mode.

    Args:
        network: the network.
        path: of the file, with the network's tensor names.
        name: of the network, for errors.

    Raises:
        InputError: for anything else than a .safetensors file.
        ModelError: for a file that cannot be read, and for tensors that are missing, of another shape or not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix != ".safetensors" or not path.is_file():
        raise InputError(f"expected an existing .safetensors file as weights of {name}, got {str(path)!r}")
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".:")[:160]
        raise ModelError(f"expected the weights of {name} in {path}, which cannot be read ({reason})") from error
    loaded = {}
    for key, tensor in network.state_dict().items():
        if key not in found and key.endswith("num_batches_tracked"):
            continue
        if key not in found or found[key].shape != tensor.shape:
            got = f"one of {tuple(found[key].shape)}" if key in found else "none"
            raise ModelError(f"expected the tensor {key} of shape {tuple(tensor.shape)} of {name} in {path}, got {got}")
        if not bool(found[key].isfinite().all()):
            raise ModelError(f"expected finite weights of {name} in {path}, got NaN or infinity in {key}")
        loaded[key] = found[key]
    network.load_state_dict(loaded, strict=False)
