import hashlib
import importlib

import lpips as reference
import pytest
import torch

from narrows.evaluation.base import NotMeasurable
from narrows.evaluation.metrics import metric

module = importlib.import_module("narrows.evaluation.metrics.lpips")


@pytest.fixture
def network(tmp_path, monkeypatch):
    """The network of the package lpips with random weights, which lie where those of AlexNet are looked for."""
    import warnings

    with torch.random.fork_rng(), warnings.catch_warnings():
        torch.manual_seed(0)
        warnings.simplefilter("ignore")
        network = reference.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    path = tmp_path / "checkpoints" / module.BACKBONE_URL.rsplit("/", 1)[1]
    path.parent.mkdir()
    names = {name: f"features.{name.split('.', 1)[1]}" for name in network.net.state_dict()}
    torch.save({names[name]: value for name, value in network.net.state_dict().items()}, path)
    before = torch.hub.get_dir()
    torch.hub.set_dir(tmp_path)
    monkeypatch.setattr(module, "BACKBONE_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    module._network.cache_clear()
    yield network
    torch.hub.set_dir(before)
    module._network.cache_clear()


def test_matches_the_package(network, photo, noisy):
    x = photo(64, 80)
    y = noisy(x, 0.1)
    a, b = (torch.from_numpy(p.pixels)[None] / 127.5 - 1 for p in (x, y))
    metric("lpips").check()
    with torch.no_grad():
        assert metric("lpips").measure(x, y) == pytest.approx(float(network(a, b)), abs=1e-6)
    assert metric("lpips").measure(x, y) > 0
    assert metric("lpips").measure(x, x) == 0


def test_small_images_are_undefined(network, photo):
    assert metric("lpips").measure(photo(31, 31), photo(31, 31)) == 0
    with pytest.raises(NotMeasurable, match="a side is shorter than 31 pixels"):
        metric("lpips").measure(photo(30, 31), photo(30, 31))
