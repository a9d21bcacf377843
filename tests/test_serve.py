"""examples/serve.py, run in this process."""

import io
import runpy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import narrows
from narrows.media import audio, image

pytest.importorskip("fastapi", reason="FastAPI is not installed")
pytest.importorskip("httpx", reason="the test client of FastAPI needs httpx")

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    from fastapi.testclient import TestClient

    threads = torch.get_num_threads()
    with TestClient(runpy.run_path(str(EXAMPLES / "serve.py"))["app"]) as client:
        yield client
    torch.set_num_threads(threads)


def png(seed: int = 0) -> bytes:
    file, random = io.BytesIO(), np.random.default_rng(seed)
    pixels = np.repeat(np.repeat(random.integers(0, 256, (3, 5, 7), np.uint8), 8, 1), 8, 2)
    image.write(file, pixels, format="png")
    return file.getvalue()


def test_models(client: Any) -> None:
    answer = client.get("/models").json()
    assert [(m["name"], m["medium"]) for m in answer] == [(m.name, m.medium) for m in narrows.models()]


def test_a_picture_there_and_back(client: Any) -> None:
    encoded = client.post("/encode?model=image&quality=6", content=png())
    assert encoded.status_code == 200
    assert encoded.content == narrows.load("image").encode_bytes(png(), quality=6, effort=0)
    for query, format in (("", "png"), ("?format=webp", "webp"), ("?format=JPG", "jpeg"), ("?format=tif", "tiff")):
        decoded = client.post(f"/decode{query}", content=encoded.content)
        assert decoded.headers["content-type"] == f"image/{format}"
        assert image.probe(decoded.content).format == format
        assert image.read(decoded.content).pixels.shape == (3, 40, 56)


def test_the_search_cannot_be_asked_for(client: Any) -> None:
    bodies = [client.post(f"/encode?model=image{query}", content=png()).content for query in ("", "&effort=5")]
    assert bodies[0] == bodies[1] == narrows.load("image").encode_bytes(png(), effort=0)


def test_a_recording_there_and_back(client: Any) -> None:
    encoded = client.post("/encode?model=speech&bitrate=2", content=(EXAMPLES / "speech.wav").read_bytes())
    assert encoded.status_code == 200
    for format, kind in (("mp3", "audio/mpeg"), ("opus", "audio/ogg"), ("ogg", "audio/ogg"), ("flac", "audio/flac")):
        decoded = client.post(f"/decode?format={format}", content=encoded.content)
        assert decoded.headers["content-type"] == kind
    decoded = client.post("/decode", content=encoded.content)
    assert decoded.headers["content-type"] == "audio/wav"
    assert audio.read(decoded.content).extent == audio.read(EXAMPLES / "speech.wav").extent


@pytest.mark.parametrize(
    ("request_", "body", "status", "message"),
    [
        ("/encode?model=image", b"", 422, "'the given bytes' is empty (0 bytes); create or download it again"),
        ("/encode?model=image", b"no image" * 9, 422, "got 'the given bytes'"),
        ("/encode?model=image", png()[:-40], 422, "is damaged or cut short"),
        ("/encode?model=image&quality=9", png(), 422, "expected a quality from 1 (smallest file) to 8"),
        ("/encode?model=image&bitrate=2", png(), 422, "got bitrate=2; leave it out"),
        ("/encode?model=speech", png(), 422, "which cannot be decoded"),
        ("/encode?model=../up", png(), 404, ", speech, video, got '../up'"),
        ("/decode", b"", 422, "the stream ends after 0 bytes"),
        ("/decode", b"RIFF" * 9, 422, "expected an .nrw stream"),
        ("/decode?format=", None, 422, "expected one of the formats avif, bmp"),
        ("/decode?format=exe", None, 422, "expected one of the formats avif, bmp"),
    ],
)
def test_errors_have_a_status_and_one_line(
    client: Any, request_: str, body: bytes | None, status: int, message: str
) -> None:
    if body is None:
        body = client.post("/encode?model=image", content=png()).content
    answer = client.post(request_, content=body)
    assert answer.status_code == status
    assert message in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


def test_limits(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = client.app.routes[-1].endpoint.__globals__
    encoded = client.post("/encode?model=image", content=png()).content
    monkeypatch.setitem(shared, "MAX_BYTES", 100)
    assert client.post("/encode?model=image", content=png()).status_code == 413
    monkeypatch.setitem(shared, "MAX_BYTES", 1 << 20)
    monkeypatch.setitem(shared, "MAX_AMOUNT", {"image": 100.0})
    for path, body in (("/encode?model=image", png()), ("/decode", encoded)):
        answer = client.post(path, content=body)
        assert (answer.status_code, answer.json()["detail"]) == (413, "expected at most 100 pixels, got 2240")


def test_eight_requests_at_once_equal_eight_in_turn(client: Any) -> None:
    def there_and_back(seed: int) -> tuple[bytes, bytes]:
        encoded = client.post("/encode?model=image", content=png(seed)).content
        return encoded, client.post("/decode", content=encoded).content

    one_by_one = [there_and_back(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(there_and_back, range(8))) == one_by_one
