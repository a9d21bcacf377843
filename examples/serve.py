"""A service that encodes media files to .nrw streams and decodes them; docs/serving.md says why it is written so.

pip install fastapi uvicorn
uvicorn serve:app --app-dir examples
curl --data-binary @photo.png 'localhost:8000/encode?model=image&quality=4' -o photo.nrw
curl --data-binary @photo.nrw 'localhost:8000/decode?format=webp' -o photo.webp
"""

from functools import partial
from typing import Any

import torch
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

import narrows
from narrows.bitstream import read_header

MAX_BYTES = 64 << 20  # of the body of a request
MAX_AMOUNT = {"audio": 3600.0, "image": 50e6}  # seconds, pixels
MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "tif": "image/tiff",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
}  # others: medium/format

torch.set_num_threads(1)  # one request takes one core, and several run at once
tokenizers = {model.name: narrows.load(model.name) for model in narrows.models()}
app = FastAPI(title="narrows")


@app.exception_handler(narrows.NarrowsError)
async def unprocessable(request: Request, error: Exception) -> JSONResponse:
    """What is wrong with the file or a setting, in one line."""
    return JSONResponse({"detail": str(error)}, status_code=422)


@app.get("/models")
def models() -> list[dict[str, Any]]:
    """The models."""
    return [{"name": m.name, "medium": m.medium, "summary": m.summary, "rates": m.rates} for m in narrows.models()]


@app.post("/encode")
async def encode(request: Request, model: str, bitrate: float | None = None, quality: float | None = None) -> Response:
    """A media file, the body of the request, as an .nrw stream."""
    data, tokenizer = await body_of(request), tokenizer_named(model)
    check_amount(tokenizer, await run_in_threadpool(tokenizer.medium.amount_of, data))
    effort = 0 if "effort" in tokenizer.settings else None  # a search takes minutes for a large image
    call = partial(tokenizer.encode_bytes, data, bitrate=bitrate, quality=quality, effort=effort)
    return Response(await run_in_threadpool(call), media_type="application/octet-stream")


@app.post("/decode")
async def decode(request: Request, format: str | None = None) -> Response:
    """An .nrw stream, the body of the request, as a media file: WAV or PNG, or another format by its suffix."""
    header = read_header(data := await body_of(request))
    tokenizer = tokenizer_named(header.model)
    check_amount(tokenizer, header.extent.amount)
    format = tokenizer.medium.default_suffix.removeprefix(".") if format is None else format.lower()
    decoded = await run_in_threadpool(tokenizer.decode_bytes, data, format)
    return Response(decoded, media_type=MEDIA_TYPES.get(format, f"{tokenizer.medium.name}/{format}"))


def tokenizer_named(name: str) -> narrows.Tokenizer:
    if name not in tokenizers:  # a name in a request loads nothing
        raise HTTPException(404, f"expected a model of {', '.join(tokenizers)}, got {name!r}")
    return tokenizers[name]


def check_amount(tokenizer: narrows.Tokenizer, amount: float) -> None:
    if amount > (most := MAX_AMOUNT[tokenizer.medium.name]):
        raise HTTPException(413, f"expected at most {most:g} {tokenizer.medium.amount_unit}s, got {amount:g}")


async def body_of(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BYTES:
            raise HTTPException(413, f"expected at most {MAX_BYTES} bytes, got more")
    return bytes(data)
