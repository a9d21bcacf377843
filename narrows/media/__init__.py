"""Reading and writing media files. No other package touches them.

    audio.read(source)             an Audio: samples (C, T) float32, sample_rate
    audio.write(target, samples, sample_rate)
    image.read(source)             an Image: pixels (C, H, W) uint8, alpha (H, W) or None
    image.write(target, pixels)
    video.read(source)             a Video: pixels (3, T, H, W) uint8, rate; video.frames(source) one by one
    video.write(target, frames, rate)
    audio.probe, image.probe, video.probe    properties of a file
    AudioReader, AudioWriter       long recordings, block by block
    VideoReader, VideoWriter       clips, frame by frame
    Audio, AudioInfo, Image, ImageInfo, ImageReader, Video, VideoInfo    what reading and probing give
    Medium, Signal, Reader, MEDIA  what media have in common, and the table of them
    Extent: AudioExtent, ImageExtent, VideoExtent      sizes

A Source is a path, bytes or a binary file object, a Target a path or a binary file object. The modules:

    table.py    the media by name: their suffixes, readers, writers and units
    medium.py   what an entry of the table holds; the base class of signals
    extents.py  the size of a signal
    audio/      probe, read, blocks, write; from packets, edits and tags to samples in one channel order
    image/      probe, read, write; from every depth, layout and colour space to 8 bits of sRGB
    video/      probe, read, frames, write; times, colours, orientation and the sound track
    files.py    opens sources: paths, bytes and file objects; one guard against exceptions of libraries
    targets.py  outputs: paths and file objects, and their formats
    atomic.py   writes a file beside its name, then renames it into place
    binary.py   integers and boxes at offsets of a file
    folders.py  lists the files below a folder
    notebook.py signals as HTML, for notebooks
    quiet.py    ignores warnings of libraries, with several threads

Axes: C channels, T samples or frames; n samples of a block; H W pixels.
"""

from typing import TYPE_CHECKING

from narrows.lazy import lazy

if TYPE_CHECKING:
    from narrows.media import audio, image, video
    from narrows.media.audio import Audio, AudioInfo, AudioReader, AudioWriter
    from narrows.media.extents import AudioExtent, Extent, ImageExtent, VideoExtent
    from narrows.media.files import Source
    from narrows.media.image import Image, ImageInfo, ImageReader
    from narrows.media.medium import Medium, Reader, Signal
    from narrows.media.table import MEDIA
    from narrows.media.targets import Target
    from narrows.media.video import Video, VideoInfo, VideoReader, VideoWriter

__all__ = [
    "MEDIA",
    "Audio",
    "AudioExtent",
    "AudioInfo",
    "AudioReader",
    "AudioWriter",
    "Extent",
    "Image",
    "ImageExtent",
    "ImageInfo",
    "ImageReader",
    "Medium",
    "Reader",
    "Signal",
    "Source",
    "Target",
    "Video",
    "VideoExtent",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "audio",
    "image",
    "video",
]

_MODULES = {
    "MEDIA": "table",
    "Audio": "audio",
    "AudioExtent": "extents",
    "AudioInfo": "audio",
    "AudioReader": "audio",
    "AudioWriter": "audio",
    "Extent": "extents",
    "Image": "image",
    "ImageExtent": "extents",
    "ImageInfo": "image",
    "ImageReader": "image",
    "Medium": "medium",
    "Reader": "medium",
    "Signal": "medium",
    "Source": "files",
    "Target": "targets",
    "Video": "video",
    "VideoExtent": "extents",
    "VideoInfo": "video",
    "VideoReader": "video",
    "VideoWriter": "video",
    "audio": None,
    "image": None,
    "video": None,
}

if not TYPE_CHECKING:  # type checkers know the names from the imports above
    __getattr__, __dir__ = lazy(__name__, _MODULES)
