"""Decodes the frames of a file in the order in which they are presented, with FFmpeg (PyAV), from any time on.

container ─▶ packets ─▶ decoder ─▶ frames, each with its time stamp     damage ends the frames with an error
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from narrows.media.files import MemoryFile, StoredFile, open_input, reason_of
from narrows.media.video.limits import MAX_PIXELS

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
MATROSKA = "matroska,webm"
_DEMUXERS = "asf,avi,flv,ivf,matroska,mov,mpeg,mpegts,ogg"  # formats with times; no playlists, which open other files
_BROADCASTS = {"mpeg", "mpegts"}  # a part of a broadcast may begin in the middle of a group of pictures
_INDEXED = {MP4, MATROSKA}  # formats in which each frame is a packet
# A damaged picture is an error; FFmpeg would fill it with parts of others. max_pixels: before memory is allocated.
_OPTIONS = {"err_detect": "crccheck+bitstream+buffer+explode", "max_pixels": str(MAX_PIXELS)}
_FIRST_STEP, _STEP = 1, 4  # seconds to go further back when no frame could be decoded from a place, and their growth


class NoVideoError(Exception):
    """FFmpeg can read the file, but it has no video track."""


class VideoDecodeError(Exception):
    """The video cannot be decoded further; the message says why."""


@contextmanager
def opened(path: StoredFile) -> Iterator["InputContainer"]:
    """The container of a file, which is closed at the end of the block."""
    import av  # not at the top: loading FFmpeg takes 0.1 s

    # By path: an error or Ctrl-C in a Python file object that FFmpeg reads from would be printed and lost. With
    # "file:" in front: FFmpeg would take names such as "http://…" or "concat:a|b" for protocols.
    source: object = open_input(path) if isinstance(path, MemoryFile) else f"file:{os.path.abspath(path)}"
    # PyAV before 19 reports tags in encodings other than UTF-8, which are common, unless it may replace characters.
    older: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
    options = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file", **_OPTIONS}
    with av.open(source, "r", options=options, **older) as container:
        yield container


def video_streams(container: "InputContainer") -> list["VideoStream"]:
    """The video tracks of a file. A picture of the cover is none."""
    return [stream for stream in container.streams.video if not _is_picture(stream)]


def _is_picture(stream: "VideoStream") -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def chosen_stream(container: "InputContainer") -> "VideoStream":
    """The first video track. Raises NoVideoError, and VideoDecodeError where no decoder is known."""
    streams = video_streams(container)
    if not streams:
        raise NoVideoError
    stream = streams[0]
    if not stream.codec_context:
        raise VideoDecodeError("FFmpeg has no decoder for it")
    stream.codec_context.options = dict(_OPTIONS)
    return stream


def time_base_of(stream: "VideoStream") -> Fraction:
    """Seconds per unit of the time stamps."""
    base = stream.time_base
    if not base:
        raise VideoDecodeError("its time stamps have no unit")
    return Fraction(base.numerator, base.denominator)  # PyAV 19 returns a type of its own


def decoded(path: StoredFile, since: int | None = None) -> Iterator[tuple["VideoFrame", int]]:
    """The frames of a file from a time on, with their time stamps.

    Args:
        path: the file.
        since: the first time stamp, in units of the stream's time base; None for all frames.

    Raises:
        VideoDecodeError: after the frames before the damage.
        NoVideoError: for a file without video.
        av.FFmpegError: for a file that FFmpeg cannot open.
    """
    if since is not None:
        back: float = 0
        with opened(path) as container:
            stream = chosen_stream(container)
            while (place := since - round(back / time_base_of(stream))) > (stream.start_time or 0):
                container.seek(place, stream=stream)
                stream.codec_context.flush_buffers()
                frames = _frames(container, stream, counted=False)
                try:
                    first, before = None, False
                    for first in frames:
                        if first[1] >= since:
                            break
                        before = True
                except VideoDecodeError:
                    before = False  # of frames that depend on others, maybe
                # Only a frame before the place shows that none between was left out.
                if first is not None and (before or first[1] == since) and first[1] >= since:
                    yield first
                    yield from frames
                    return
                back = back * _STEP + _FIRST_STEP
    with opened(path) as container:
        for frame, stamp in _frames(container, chosen_stream(container), counted=True):
            if since is None or stamp >= since:
                yield frame, stamp


def _frames(container: "InputContainer", stream: "VideoStream", *, counted: bool) -> Iterator[tuple["VideoFrame", int]]:
    """The frames from the position of the container on, with their time stamps, which increase.

    Args:
        container: opened.
        stream: its video track.
        counted: whether fewer frames than packets are an error.
    """
    last: int | None = None
    packets = frames = 0
    for frame in _pictures(container, stream):
        if frame is None:
            packets += 1
            continue
        stamp = frame.pts
        if stamp is None:
            stamp = frame.dts
        if stamp is None:
            raise VideoDecodeError("a frame has no time stamp")
        if last is not None and stamp <= last:
            raise VideoDecodeError("its time stamps do not increase")
        frames, last = frames + 1, stamp
        yield frame, stamp
    if counted and frames < packets and container.format.name in _INDEXED:
        raise VideoDecodeError(f"{packets - frames} of {packets} frames cannot be decoded")


def _pictures(container: "InputContainer", stream: "VideoStream") -> Iterator["VideoFrame | None"]:
    """The decoded frames, and None for each packet that is to give one."""
    from av import FFmpegError

    begun = False
    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                yield None
            try:
                if packet.is_corrupt:
                    raise VideoDecodeError("bytes are missing")
                frames = packet.decode()
            except (FFmpegError, VideoDecodeError) as error:
                if not begun and container.format.name in _BROADCASTS:
                    continue
                yield from _before(packet, stream)
                raise VideoDecodeError(reason_of(error)) from error
            for frame in frames:
                if frame.is_corrupt:
                    raise VideoDecodeError("a frame is damaged")
                begun = True
                yield frame
    except FFmpegError as error:  # of the demuxer: the container is damaged
        raise VideoDecodeError(reason_of(error)) from error


def _before(packet: "Packet[VideoStream]", stream: "VideoStream") -> Iterator["VideoFrame"]:
    """The frames that wait in the decoder and come before a damaged packet."""
    from av import FFmpegError

    try:
        for frame in stream.codec_context.decode(None):
            if frame.pts is not None and packet.pts is not None and frame.pts < packet.pts and not frame.is_corrupt:
                yield frame
    except FFmpegError:
        return
