"""Classifiers of timm, cut between the stages of which timm gives features."""

from typing import Any

import torch
from torch import Tensor, nn

from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.image.classifiers import Classifier
from narrows.codecs.image.timm_backbone import check_timm_name
from narrows.errors import InputError
from narrows.parts import part

HEAD = ("global_pool", "head", "classifier", "fc")  # modules that timm's heads start with
PROBE = 64  # height and width in pixels of the image with which the stages are compared with the whole network


@part("timm-classifier")
class TimmClassifier(Classifier):
    """An image network of timm with random weights; nothing is downloaded.

    Its modules have to run one after another, as those of most convolutional networks do: ResNet, RegNet, ConvNeXt,
    EfficientNet, DenseNet. This is checked with an image. The mean and deviation of its training data in timm's
    configuration normalize images.

    Args:
        name: name in timm, such as "resnet18".
        classes: number of classes.

    Raises:
        InputError: for a name that timm does not know, and for a network whose modules do not run one after another.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str = "resnet18", classes: int = 10) -> None:
        import timm

        super().__init__()
        check_integers(1, MAX_SIZE, classes=classes)
        check_timm_name(name)
        self.network: Any = timm.create_model(name, pretrained=False, num_classes=classes)
        self.channels, self.classes = 3, classes
        config: Any = self.network.pretrained_cfg
        for key in ("mean", "std"):
            self.register_buffer(key, torch.tensor(config[key]).view(1, 3, 1, 1), persistent=False)
        features = [info for info in getattr(self.network, "feature_info", []) if info.get("module")]
        self.dims = tuple(info["num_chs"] for info in features)
        self.strides = tuple(info["reduction"] for info in features)
        self._modules_of = _stages(self.network, [info["module"] for info in features])
        if not features or len(self._modules_of) != len(features) or not self._runs_in_stages():
            raise InputError(
                f"expected a timm network whose modules run one after another, such as resnet18, got {name!r}; "
                "choose another"
            )

    def stage(self, x: Tensor, index: int) -> Tensor:
        """See `Classifier.stage`."""
        if index == 0:
            x = ((x + 1) / 2 - self.mean) / self.std
        if index == len(self.dims):
            for path in self._modules_of[-1][1]:
                x = self.network.get_submodule(path)(x)
            out: Tensor = self.network.forward_head(x)
            return out
        for path in self._modules_of[index][0]:
            x = self.network.get_submodule(path)(x)
        return x

    def remove_stages(self, stages: range) -> None:
        """See `Classifier.remove_stages`."""
        paths = [path for index in stages if index < len(self.dims) for path in self._modules_of[index][0]]
        if len(self.dims) in stages:
            names = [name for name, _ in self.network.named_children()]
            start = next(place for place, name in enumerate(names) if name in HEAD)
            paths += [*self._modules_of[-1][1], *names[start:]]
        for path in paths:
            parent, _, name = path.rpartition(".")
            setattr(self.network.get_submodule(parent), name, nn.Identity())

    @torch.no_grad()
    def _runs_in_stages(self) -> bool:
        """Whether the stages give what the network gives. True where there are shapes only, as of a meta device."""
        if next(self.network.parameters()).is_meta:
            return True
        training = self.training
        self.eval()
        try:
            x = torch.linspace(-1, 1, 3 * PROBE * PROBE).view(1, 3, PROBE, PROBE)
            expected = self.network(((x + 1) / 2 - self.mean) / self.std)
            return torch.allclose(self(x), expected, rtol=1e-3, atol=1e-4)
        except (RuntimeError, AssertionError, AttributeError, TypeError, ValueError):
            return False
        finally:
            self.train(training)


def _stages(network: nn.Module, ends: list[str]) -> list[tuple[list[str], list[str]]]:
    """For each stage the paths of its modules, and of those between it and the head, which only the last one has."""
    paths = []
    for path in _flattened(network, "", ends):
        if path.split(".")[0] in HEAD:
            break
        paths.append(path)
    found: list[tuple[list[str], list[str]]] = []
    waiting: list[str] = []
    for path in paths:
        waiting.append(path)
        if path in ends:
            found.append((waiting, []))
            waiting = []
    if found:
        found[-1][1].extend(waiting)
    return found


def _flattened(network: nn.Module, prefix: str, ends: list[str]) -> list[str]:
    """Paths of the modules of a network in order; sequences in which a stage ends are replaced by what is in them."""
    paths = []
    for name, child in network.named_children():
        path = prefix + name
        inside = isinstance(child, nn.Sequential) and any(end.startswith(f"{path}.") for end in ends)
        paths += _flattened(child, f"{path}.", ends) if inside else [path]
    return paths
