import hashlib
from urllib.error import URLError

import pytest
import torch

from narrows.errors import InputError
from narrows.evaluation.metrics import metric, requirements

URL = "https://example.org/weights.pth"


@pytest.fixture
def hub(tmp_path):
    before = torch.hub.get_dir()
    torch.hub.set_dir(tmp_path)
    yield tmp_path
    torch.hub.set_dir(before)


def test_failed_download_message(hub, monkeypatch):
    def offline(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(InputError) as caught:
        requirements.download_weights(URL, "00", "one")
    line = str(caught.value)
    assert f"one needs {URL}, which cannot be downloaded" in line
    assert f"put it at {hub / 'checkpoints' / 'weights.pth'}" in line
    assert "\n" not in line
    for name in ("lpips", "rfid"):
        with pytest.raises(InputError, match=f"{name} needs"):
            metric(name).check()


def test_weights_are_downloaded_once_and_verified(hub, monkeypatch):
    calls = []

    def download(url, path, progress):
        calls.append(url)
        with open(path, "wb") as file:
            file.write(b"weights")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    assert [requirements.download_weights(URL, digest, "one").read_bytes() for _ in range(2)] == [b"weights"] * 2
    assert calls == [URL]
    with pytest.raises(InputError, match=r"one needs https.* has another SHA-256; remove that file"):
        requirements.download_weights(URL, "00000000", "one")
