"""Ignores warnings of libraries, safely with several threads."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_lock = threading.Lock()
_inside = 0
_filters: ExitStack | None = None


@contextmanager
def ignore_warnings() -> Iterator[None]:
    """Ignore all warnings of the process while at least one thread is within.

    The filters of warnings belong to the process. `warnings.catch_warnings` in several threads at once may restore them
    in the wrong order, and so leave them changed for good; here the first thread saves them and the last restores them.
    """
    global _inside, _filters
    with _lock:
        if _inside == 0:
            _filters = ExitStack()
            _filters.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _filters is not None:
                _filters.close()
