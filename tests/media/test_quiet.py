import threading
import warnings

import pytest

from narrows.media.quiet import ignore_warnings


def test_warnings_are_ignored_within_only() -> None:
    with ignore_warnings():
        warnings.warn("ignored", stacklevel=1)
    with pytest.raises(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


def test_filters_are_restored_after_overlapping_threads() -> None:
    before = list(warnings.filters)
    entered, leave = threading.Event(), threading.Event()

    def overlap() -> None:
        with ignore_warnings():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=overlap)
    with ignore_warnings():
        thread.start()
        entered.wait()
    warnings.warn("ignored: the other thread is still within", stacklevel=1)
    leave.set()
    thread.join()
    assert list(warnings.filters) == before
