from dataclasses import FrozenInstanceError, astuple, fields
from fractions import Fraction

import numpy as np
import pytest

from narrows.errors import InputError
from narrows.media.extents import AudioExtent, Extent, ImageExtent, VideoExtent

AUDIO = AudioExtent(sample_rate=16_000, samples=24_000, channels=2)
IMAGE = ImageExtent(height=480, width=640, channels=3)
VIDEO = VideoExtent(frames=300, height=480, width=640, channels=3, rate=30_000, rate_base=1_001)

every_extent = pytest.mark.parametrize("extent", [AUDIO, IMAGE, VIDEO], ids=lambda extent: extent.medium)


@pytest.mark.parametrize(
    ("extent", "size", "amount", "seconds", "text"),
    [
        (AUDIO, (24_000,), 1.5, 1.5, "1.50 s"),
        (IMAGE, (480, 640), 307_200, None, "640 × 480"),
        (VIDEO, (300, 480, 640), 92_160_000, 10.01, "10.01 s  640 × 480"),
    ],
)
def test_size_amount_seconds_and_text(extent, size, amount, seconds, text):
    assert extent.size == size
    assert extent.amount == amount
    assert extent.seconds == seconds
    assert str(extent) == text
    assert isinstance(extent.amount, float)


@pytest.mark.parametrize(
    ("extent", "facts"),
    [
        (AUDIO, {"seconds": 1.5, "sample_rate": 16_000, "channels": 2}),
        (IMAGE, {"width": 640, "height": 480, "channels": 3}),
        (
            VIDEO,
            {"seconds": 10.01, "width": 640, "height": 480, "frames_per_second": 30_000 / 1_001, "channels": 3},
        ),
    ],
)
def test_facts(extent, facts):
    assert extent.facts == facts
    assert list(extent.facts) == list(facts)


@every_extent
def test_of_a_grid(extent):
    strides = (1, 2, 4)[: extent.axes]
    made = type(extent).of_grid(tuple(range(3, 3 + extent.axes)), strides, extent.channels, 25)
    assert made.size == (3, 8, 20)[: extent.axes]
    assert made.channels == extent.channels
    assert made.seconds == (None if extent is IMAGE else 3 / 25)


def test_the_first_latent_frame_is_one_frame():
    assert VideoExtent.of_grid((3, 2, 2), (4, 8, 8), 3, Fraction(30000, 1001)) == VideoExtent(9, 16, 16, 3, 30000, 1001)


@every_extent
def test_axes_are_those_of_size_and_grid(extent):
    assert extent.axes == len(extent.size) == len(extent.grid_names)
    assert len(extent.limits) == len(fields(extent))


def test_grid_names_tell_media_apart():
    names = [kind.grid_names for kind in (AudioExtent, ImageExtent, VideoExtent)]
    assert names == [("frames",), ("grid_height", "grid_width"), ("grid_frames", "grid_height", "grid_width")]


@every_extent
def test_each_field_is_from_1_to_its_limit(extent):
    for place, (field, limit) in enumerate(zip(fields(extent), extent.limits, strict=True)):

        def changed(value, place=place):
            values = [*astuple(extent)]
            values[place] = value
            return type(extent)(*values)

        message = f"expected {field.name} of the {extent.medium}"
        assert astuple(changed(limit))[place] == limit
        assert astuple(changed(1))[place] == 1
        for value in (0, -1, limit + 1):
            with pytest.raises(InputError, match=f"{message} from 1 to {limit}, got {value}"):
                changed(value)
        for value in (True, 7.0, "7", np.int64(7), None):
            with pytest.raises(InputError, match=f"{message} as an integer, got "):
                changed(value)


@every_extent
def test_extents_are_values(extent):
    assert type(extent)(*astuple(extent)) == extent
    assert hash(type(extent)(*astuple(extent))) == hash(extent)
    with pytest.raises(FrozenInstanceError):
        extent.channels = 1


def test_an_extent_without_its_parts_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Extent()
