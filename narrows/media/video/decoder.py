"""Decodes the frames of a file in the order in which they are presented, with FFmpeg (PyAV), from any time on.

container ─▶ packets ─▶ decoder ─▶ frames, each with its time stamp     damage ends the frames with an error
"""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from narrows.errors import MediaError
from narrows.media.files import MemoryFile, StoredFile, StrPath, open_input, reason_of
from narrows.media.video.ffv1 import SliceChecks
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
_UNTIMED = {"avi"}  # formats without times of presentation
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


def has_frames(path: StrPath) -> bool:
    """Whether a file has a video track; False for one that cannot be opened, such as a pipe."""
    from av import FFmpegError

    try:
        with open_input(path):  # opening a pipe would wait
            pass
        with opened(path) as container:
            return bool(video_streams(container))
    except (MediaError, FFmpegError, OSError, ValueError):
        return False


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
    if base := fraction_of(stream.time_base):
        return base
    raise VideoDecodeError("its time stamps have no unit")


def fraction_of(value: Any) -> Fraction | None:
    """A number of PyAV, which has a type of its own from version 19 on; None for none and for 0."""
    return Fraction(value.numerator, value.denominator) if value and value.denominator else None


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
                if container.format.name in _UNTIMED:
                    break
                container.seek(place, stream=stream)
                stream.codec_context.flush_buffers()
                frames = frames_of(container, stream)
                first, before = None, False
                try:
                    for first in frames:
                        if first[1] >= since:
                            break
                        before = True
                except VideoDecodeError:  # the frame depends on others, maybe
                    before = False
                # Only a frame before the place shows that none between was left out.
                if first is not None and (before or first[1] == since):
                    if first[1] >= since:
                        yield first
                    yield from frames
                    return
                back = back * _STEP + _FIRST_STEP
    with opened(path) as container:
        for frame, stamp in frames_of(container, chosen_stream(container), counted=True):
            if since is None or stamp >= since:
                yield frame, stamp


def packet_stamp(container: "InputContainer", packet: "Packet[VideoStream]") -> int | None:
    """The time stamp of a packet that holds a frame; None for others."""
    if not packet.size or packet.is_discard or packet.is_corrupt:
        return None
    return packet.dts if packet.pts is None or container.format.name in _UNTIMED else packet.pts


def frames_of(
    container: "InputContainer", stream: "VideoStream", *, counted: bool = False
) -> Iterator[tuple["VideoFrame", int]]:
    """The frames from the position of the container on, with their time stamps, which increase.

    Args:
        container: opened.
        stream: its video track.
        counted: whether fewer frames than packets are an error.

    Raises:
        VideoDecodeError: after the frames before the damage.
    """
    from av import VideoFrame

    last: int | None = None
    packets = frames = 0
    order: deque[int] = deque()  # where frames have no time stamps of their own, those of the packets in order
    for item in _pictures(container, stream):
        if not isinstance(item, VideoFrame):
            stamp = packet_stamp(container, item)
            packets += stamp is not None
            if stamp is not None and container.format.name in _UNTIMED:
                order.append(stamp)
            continue
        stamp = item.dts if item.pts is None else item.pts
        if container.format.name in _UNTIMED:
            stamp = order.popleft() if order else None
        if stamp is None:
            raise VideoDecodeError("a frame has no time stamp")
        if last is not None and stamp <= last:
            raise VideoDecodeError("its time stamps do not increase")
        frames, last = frames + 1, stamp
        yield item, stamp
    if counted and frames < packets and container.format.name in _INDEXED:
        raise VideoDecodeError(f"{packets - frames} of {packets} frames cannot be decoded")


def _pictures(container: "InputContainer", stream: "VideoStream") -> Iterator["VideoFrame | Packet[VideoStream]"]:
    """The packets, each before it is decoded, and the decoded frames."""
    from av import FFmpegError

    begun = False
    waiting: set[int] = set()  # time stamps of packets whose frames are to come
    checks = SliceChecks() if stream.codec_context.name == "ffv1" else None
    try:
        for packet in container.demux(stream):
            yield packet
            if packet.pts is not None and packet_stamp(container, packet) is not None:
                waiting.add(packet.pts)
            try:
                if packet.is_corrupt:
                    raise VideoDecodeError("bytes are missing")
                if checks and packet.size and checks.damaged(bytes(packet)):
                    raise VideoDecodeError("a checksum is wrong")
                frames = packet.decode()
            except (FFmpegError, VideoDecodeError) as error:
                if not begun and container.format.name in _BROADCASTS:
                    continue
                yield from _before(stream, waiting, packet.pts)
                raise VideoDecodeError(reason_of(error)) from error
            for frame in frames:
                if frame.is_corrupt:
                    raise VideoDecodeError("a frame is damaged")
                begun = True
                waiting = {stamp for stamp in waiting if frame.pts is not None and stamp > frame.pts}
                yield frame
    except FFmpegError as error:  # of the demuxer: the container is damaged
        raise VideoDecodeError(reason_of(error)) from error


def _before(stream: "VideoStream", waiting: set[int], damaged: int | None) -> Iterator["VideoFrame"]:
    """The frames that wait in the decoder when a packet is damaged, up to the first that is missing.

    Args:
        stream: the track.
        waiting: time stamps of the packets whose frames were not read yet.
        damaged: time stamp of the damaged packet.
    """
    from av import FFmpegError

    try:
        for frame, stamp in zip(stream.codec_context.decode(None), sorted(waiting), strict=False):
            if frame.pts != stamp or stamp == damaged or frame.is_corrupt:
                return
            yield frame
    except (FFmpegError, ValueError):  # ValueError: the decoder could not be opened
        return
