"""The errors that this library raises.

    NarrowsError
    ├── InputError          an invalid tensor, number or option
    ├── MediaError          a media file that cannot be read or written
    │   └── OutputExists    an output that exists and may not be replaced
    ├── PartError           a description of a part with an unknown or missing name or argument
    ├── ModelError          a model name, folder or weights file that cannot be loaded
    └── StreamError         an .nrw stream that cannot be read
        ├── DamagedStream   bytes are missing or were changed
        ├── NewerStream     written by a later version of the format
        └── WrongModel      made by another model, or by other weights of the same name

Each message is one line: what was expected, what was got, what to do.
"""


class NarrowsError(Exception):
    """Base of all errors raised on purpose by this library."""


class InputError(NarrowsError, ValueError):
    """An invalid tensor, number or option."""


class MediaError(NarrowsError):
    """A media file that cannot be read or written."""


class OutputExists(MediaError):
    """An output that exists and may not be replaced."""


class PartError(NarrowsError, ValueError):
    """A description of a part with an unknown or missing name or argument."""


class ModelError(NarrowsError):
    """A model name, folder or weights file that cannot be loaded."""


class StreamError(NarrowsError):
    """An .nrw stream that cannot be read."""


class DamagedStream(StreamError):
    """Bytes of the stream are missing or were changed."""


class NewerStream(StreamError):
    """The stream was written by a later version of the format."""


class WrongModel(StreamError):
    """The stream was made by another model, or by other weights of the same name."""


class PluginWarning(UserWarning):
    """What an installed package announces cannot be used, and is left out."""
