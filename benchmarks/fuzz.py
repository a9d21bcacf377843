"""Damaged files: does reading one of them ever end otherwise than with a signal or one of the library's errors?

    python benchmarks/fuzz.py audio --files 12000 > fuzz.jsonl      # or images, or streams

Small files of many formats are made with the libraries and, where it is there, the program ffmpeg. Each file of the run
is one of them with some bytes changed, cut, moved or repeated, by a generator whose seed is the number of the file; in
half of the streams the checksums are made right again, so that the damage reaches the decoder. It is read in a child
process. An exception that is none of the library's errors, the end of the process, more than 5 s and more than 1 GB of
memory are faults; they are printed, and --first N --files 1 --keep DIR writes file N again.
"""

import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from common import PEAK_UNIT, argument_parser, check_positive, emit, run
from PIL import Image as Pillow

import narrows
from narrows.bitstream import inspect, read_header
from narrows.bitstream.framing import Framing
from narrows.bitstream.header import ATTACHMENTS
from narrows.bitstream.varint import to_varint
from narrows.errors import InputError, NarrowsError
from narrows.media import audio, image

SECONDS, GIGABYTE = 5, 2**30
RATE = 48_000
HEAD = 600  # bytes at the begin, which are changed more often
NUMBERS = (0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 10**9)
SOUNDFILE = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3")
FFMPEG = {
    "m4a": "aac alac",
    "mp4": "libmp3lame libopus ac3 flac libvorbis",
    "mov": "pcm_s16le pcm_f32be",
    "mkv": "aac libvorbis flac pcm_s24le",
    "webm": "libopus",
    "ogg": "libvorbis flac libspeex",
    "opus": "libopus",
    "ts": "aac mp2",
    "caf": "alac pcm_s24be",
    "avi": "libmp3lame",
    "wma": "wmav2",
    **{"mp3": "libmp3lame", "aac": "aac", "ac3": "ac3", "flac": "flac", "wv": "wavpack", "tta": "tta"},
    **{"wav": "pcm_s64le adpcm_ima_wav adpcm_ms g722", "aiff": "pcm_s16be", "flv": "aac", "mpg": "mp2"},
}


IMAGES: list[tuple[str, dict[str, Any]]] = [
    *((suffix, {}) for suffix in ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "BMP", "PPM", "TIFF")),
    ("JPEG", {"progressive": True, "quality": 90}),
    ("JPEG", {"restart_marker_rows": 1, "quality": 90}),
    ("WEBP", {"lossless": True}),
    *(("TIFF", {"compression": name}) for name in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg", "group3", "group4")),
]


def main() -> None:
    """Read the files and print the counts."""
    parser = argument_parser(__doc__)
    parser.add_argument("kind", choices=KINDS, help="what to read.")
    parser.add_argument("--files", type=int, default=1000, help="number of damaged files. [1000]")
    parser.add_argument("--first", type=int, default=0, help="number of the first. [0]")
    parser.add_argument("--keep", type=Path, help="folder to write the files to.")
    parser.add_argument("--child", type=Path, help="(for the child processes) folder of the whole files.")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "files")
    if arguments.child:
        read_files(arguments.kind, arguments.child, arguments.first, arguments.files, arguments.keep)
        return
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        KINDS[arguments.kind][0](Path(folder))
        last = arguments.first + arguments.files
        for number, outcome in outcomes(arguments.kind, Path(folder), arguments.first, last, arguments.keep):
            counts[outcome if outcome in ("read", "refused") else "faults"] += 1
            if outcome not in ("read", "refused"):
                emit({"file": number, "fault": outcome})
    emit({"kind": arguments.kind, "files": arguments.files, **counts})


def outcomes(kind: str, folder: Path, first: int, last: int, keep: Path | None) -> Iterator[tuple[int, str]]:
    """The number of each file and what happened; a new child continues after a file that ended one."""
    while first < last:
        command = [
            sys.executable,
            __file__,
            kind,
            "--child",
            str(folder),
            "--first",
            str(first),
            "--files",
            str(last - first),
        ]
        if keep:
            command += ["--keep", str(keep)]
        with tempfile.TemporaryFile("w+") as printed:  # not a pipe, which would fill up: libtiff prints a lot
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=printed, text=True)
            assert child.stdout is not None
            for line in child.stdout:
                yield first, line.strip()
                first += 1
            if child.wait() == -signal.SIGALRM:
                yield first, f"more than {SECONDS} s"
                first += 1
            elif child.returncode:
                printed.seek(0)
                yield first, f"exit code {child.returncode}: {printed.read()[-300:]}"
                first += 1


def read_files(kind: str, folder: Path, first: int, count: int, keep: Path | None) -> None:
    """Read damaged files, and print a line about each."""
    read = KINDS[kind][1]()
    whole = [path.read_bytes() for path in sorted(folder.iterdir())]
    for number in range(first, first + count):
        path = (keep or folder.parent) / f"narrows-fuzz-{os.getpid()}-{number}"
        path.write_bytes(damaged(whole, number, resealed if kind == "streams" else None))
        signal.alarm(SECONDS)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT
        try:
            outcome = outcome_of(path, read)
        finally:
            if not keep:
                path.unlink()
        signal.alarm(0)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT - before > GIGABYTE:
            outcome = "more than 1 GB"
        print(outcome, flush=True)


def outcome_of(path: Path, read: Callable[[Path], object]) -> str:
    """How reading a file ends."""
    try:
        read(path)
    except NarrowsError as error:
        return "refused" if "\n" not in str(error) else f"several lines: {error!r}"
    except Exception as error:
        return repr(error)[:300].replace("\n", " ")
    return "read"


def damaged(whole: list[bytes], number: int, seal: Callable[[bytes, bytes], bytes] | None) -> bytes:
    """One of the files with 1 to 6 changes; in half of the files `seal` corrects the checksums."""
    generator = np.random.default_rng(number)
    original = whole[generator.integers(len(whole))]
    data = bytearray(original)
    for _ in range(min(6, generator.geometric(0.5))):
        size = len(data)
        at = int(generator.integers(size if generator.random() < 0.4 else min(size, HEAD)))
        length = int(2 ** generator.uniform(0, 10))
        match generator.integers(8):
            case 0 | 1:
                data[at] ^= 1 << int(generator.integers(8))
            case 2:
                data[at] = int(generator.integers(256))
            case 3 | 4:
                value = NUMBERS[generator.integers(len(NUMBERS))]
                width = int(generator.choice([2, 4, 8]))
                data[at : at + width] = (value % 256**width).to_bytes(
                    width, "big" if generator.random() < 0.5 else "little"
                )
            case 5:
                data[at : at + length] = generator.bytes(length) if generator.random() < 0.5 else bytes(length)
            case 6:
                data[at:] = data[at + length :] if generator.random() < 0.5 else data[at : at + length] + data[at:]
            case 7:
                other = whole[generator.integers(len(whole))]
                data = data[:at] + other[at:] if generator.random() < 0.3 else data[: max(1, at)]
        data = data or bytearray(1)
    return seal(original, bytes(data)) if seal is not None and number % 2 else bytes(data)


def resealed(original: bytes, data: bytes) -> bytes:
    """A damaged stream with right checksums, at the places where those of the original are, if it is long enough."""
    header_bytes, framing = len(read_header(original).to_bytes()), Framing(read_header(original))
    if len(data) < framing.first_chunk:
        return data
    fields = data[: header_bytes - 4]
    out = bytearray(fields + zlib.crc32(fields).to_bytes(4, "little"))
    numbers = {name: number for number, name in ATTACHMENTS.items()}
    for name, length in framing.header.attachments:
        payload = data[len(out) + 4 : len(out) + 4 + length]
        out += zlib.crc32(fields + payload + bytes([numbers[name]])).to_bytes(4, "little") + payload
    for chunk, start in enumerate(framing.locate(memoryview(original)).tolist()):
        place = framing.parse(memoryview(original), start, chunk)
        payload = data[place.payload : place.stop]
        length = b"" if framing.raw else to_varint(len(payload))
        covered = fields + length + payload + chunk.to_bytes(4, "little")
        out += length + zlib.crc32(covered).to_bytes(4, "little") + payload
    return bytes(out)


def audio_reader() -> Callable[[Path], object]:
    """Reads all blocks of an audio file."""

    def read(path: Path) -> None:
        for block in audio.blocks(path):
            assert np.isfinite(block).all()

    return read


def stream_reader() -> Callable[[Path], object]:
    """Inspects, recovers and decodes a stream with the model that its first bytes name."""
    models = {medium: narrows.load(name) for medium, name in (("audio", "speech"), ("image", "image"))}

    def read(path: Path) -> None:
        data = path.read_bytes()
        tokenizer = models.get(inspect(data).header.extent.medium)
        if tokenizer is None:
            raise InputError("a stream of video")
        try:
            signal = tokenizer.decode_signal(data)
            assert np.isfinite(signal.array).all()
        except NarrowsError:
            tokenizer.recover(data)

    return read


def make_streams(folder: Path) -> None:
    """Write the whole streams: audio with and without entropy coding, images, one of them with alpha."""
    generator = np.random.default_rng(0)
    speech, photo = narrows.load("speech"), narrows.load("image")
    x = (generator.standard_normal((2, 16_000)) * 0.1).astype(np.float32)
    tables = speech.tables
    for channels, raw in ((1, False), (2, False), (1, True)):
        speech.tables = None if raw else tables
        (folder / f"audio-{channels}-{raw}").write_bytes(speech.compress(speech.encode(x[:channels], 16_000)))
    pixels = generator.integers(0, 256, (3, 40, 50)).astype(np.uint8)
    for quality in (1, 4, 8):
        tokens = photo.encode(pixels, quality=quality, effort=0)
        (folder / f"image-{quality}").write_bytes(photo.compress(tokens))
    alpha = image.Image(pixels, pixels[0])
    (folder / "image-alpha").write_bytes(photo.compress(photo.encode_signal(alpha, effort=0)))


def make_images(folder: Path) -> None:
    """Write the whole images: the formats that Pillow writes, in all their modes and common options."""
    generator = np.random.default_rng(0)
    colour = Pillow.fromarray(generator.integers(0, 256, (40, 50, 4)).astype(np.uint8), "RGBA")
    grey_16 = Pillow.fromarray(generator.integers(0, 65536, (40, 50)).astype(np.uint16))
    for suffix, options in IMAGES:
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"):
            made = grey_16 if mode == "I;16" else colour.convert(mode)
            try:
                data = io.BytesIO()
                made.save(data, suffix, **options)
            except (OSError, ValueError, KeyError):
                continue  # the format has no such mode
            (folder / f"{suffix}-{mode}-{'-'.join(map(str, options.values()))}").write_bytes(data.getvalue())


def make_audio(folder: Path) -> None:
    """Write the whole files: 0.3 s of noise, mono, stereo and 5.1."""
    noise = np.random.default_rng(0).standard_normal((RATE * 3 // 10, 6)) * 0.1
    for format in SOUNDFILE:
        for channels in (1, 2, 6) if format not in ("MP3",) else (1, 2):
            soundfile.write(folder / f"{format}-{channels}", noise[:, :channels], RATE, format=format)
    soundfile.write(folder / "OPUS-2", noise[:, :2], RATE, format="OGG", subtype="OPUS")
    soundfile.write(folder / "ALAC-2", noise[:, :2], RATE, format="CAF", subtype="ALAC_16")
    if shutil.which("ffmpeg") is None:
        return
    for suffix, codecs in FFMPEG.items():
        for codec in codecs.split():
            command = ["ffmpeg", "-v", "error", "-i", folder / "WAV-2", "-strict", "-2", "-c:a", codec]
            subprocess.run([*command, folder / f"{codec}.{suffix}"], check=False, stderr=subprocess.DEVNULL)
    for path in folder.iterdir():
        if path.stat().st_size == 0:
            path.unlink()


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[], Callable[[Path], object]]]] = {
    "audio": (make_audio, audio_reader),
    "images": (make_images, lambda: image.read),
    "streams": (make_streams, stream_reader),
}

if __name__ == "__main__":
    run(main)
