import io
import math
import random
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from narrows.datasets import plan
from narrows.datasets.base import Location, SourceItem
from narrows.datasets.plan import plan_shards, source_fingerprint
from narrows.datasets.sources import list_items, open_item
from narrows.errors import InputError, MediaError
from narrows.media import audio, image

RATE = 8_000


def wave(seconds, format="WAV"):
    file = io.BytesIO()
    samples = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE))
    soundfile.write(file, samples, RATE, format=format)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty files of 1 to 4 s of uncompressed audio."""
    path = tmp_path_factory.mktemp("audio")
    for index in range(40):
        (path / f"{index:02d}.wav").write_bytes(wave(1 + index % 4))
    return path


@pytest.fixture
def listed(folder):
    return list_items(str(folder), "audio")


def seconds(shard):
    return sum(audio.probe(open_item(item)).seconds for item in shard.items)


def test_shards_are_filled_and_hold_every_item_once(listed):
    made = plan_shards(listed, 10.1 / 60, "audio")
    assert [item for shard in made for item in shard.items] == listed
    assert [(shard.index, shard.count) for shard in made] == [(index, len(made)) for index in range(len(made))]
    assert all(seconds(shard) == 10 for shard in made)  # 1 + 2 + 3 + 4


def test_the_plan_does_not_depend_on_the_order_of_items(listed):
    shuffled = random.Random(0).sample(listed, len(listed))
    assert plan_shards(shuffled, 0.1, "audio") == plan_shards(listed, 0.1, "audio")


def test_few_items_are_probed(listed, monkeypatch):
    probed = []
    monkeypatch.setattr(plan, "open_item", lambda item: probed.append(item.key) or open_item(item))
    plan_shards(listed, 0.1, "audio")
    assert len(probed) == plan.SAMPLE


def test_each_suffix_has_its_own_ratio(tmp_path):
    for index in range(4):
        (tmp_path / f"a{index}.wav").write_bytes(wave(2))
        (tmp_path / f"b{index}.ogg").write_bytes(wave(2, "OGG"))
    made = plan_shards(list_items(str(tmp_path), "audio"), 4.2 / 60, "audio")
    assert [len(shard.items) for shard in made] == [2, 2, 2, 2]


def test_items_are_sorted_by_location(tmp_path):
    places = [
        Location("/b.tar", 0, 9),
        Location("/a.parquet", None, 9, 1, "audio"),
        Location("/a.parquet", None, 9, 0, "audio"),
    ]
    places += [Location("/b.tar", 1024, 9), Location("/a.flac", size=None)]
    keyed = [SourceItem(key, place) for key, place in zip("abcde", places, strict=True)]
    (shard,) = plan_shards(keyed, 10, "audio")
    assert [item.key for item in shard.items] == ["e", "c", "b", "a", "d"]


def test_an_item_longer_than_a_shard_gets_its_own(listed):
    claimed = replace(listed[3], location=Location("/none.wav", 0, 2**60))
    made = plan_shards([*listed[:3], claimed, *listed[4:8]], 1, "audio")
    assert sorted(len(shard.items) for shard in made) == [1, 7]


def test_outliers_of_the_sample_are_ignored(listed, folder, tmp_path):
    lie = bytearray(wave(1, "FLAC"))
    lie[21] |= 0x0F  # the length in STREAMINFO, 36 bits
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.flac").write_bytes(wave(1, "FLAC"))
    (tmp_path / "d.flac").write_bytes(lie)
    assert audio.probe(tmp_path / "d.flac").seconds > 1e6
    (shard,) = plan_shards(list_items(str(tmp_path), "audio"), 5 / 60, "audio")
    assert len(shard.items) == 4


def test_unreadable_items_are_planned(tmp_path):
    for index in range(70):
        (tmp_path / f"{index}.wav").write_bytes(b"no audio" * 4_000)
    made = plan_shards(list_items(str(tmp_path), "audio"), 0.5, "audio")
    assert [len(shard.items) for shard in made] == [30, 30, 10]  # one second each
    with pytest.raises(MediaError):
        audio.probe(open_item(made[0].items[0]))


def test_empty_items_count_as_the_least_amount():
    nothing = [SourceItem(f"{index:04d}", Location(f"/{index:04d}.wav", size=0)) for index in range(1_500)]
    assert [len(shard.items) for shard in plan_shards(nothing, 1.0001, "audio")] == [600, 600, 300]


def test_images_are_counted_in_pixels(tmp_path):
    for index in range(8):
        image.write(tmp_path / f"{index}.bmp", np.zeros((3, 128, 256), np.uint8))
    made = plan_shards(list_items(str(tmp_path), "image"), 2.01 * 128 * 256 / image.MEDIUM.amount_per_minute, "image")
    assert [len(shard.items) for shard in made] == [2, 2, 2, 2]


def test_no_items_give_no_shards():
    assert plan_shards([], 10, "audio") == []


@pytest.mark.parametrize("minutes", [0, -1, math.nan, math.inf])
def test_invalid_minutes_are_refused(listed, minutes):
    with pytest.raises(InputError, match="minutes"):
        plan_shards(listed, minutes, "audio")


def test_given_sizes_are_used(listed):
    sizes = [3, 30, 7]
    made = plan_shards(listed, 10.1 / 60, "audio", sizes)
    assert [len(shard.items) for shard in made] == sizes
    assert [item for shard in made for item in shard.items] == listed


def test_different_data_sets_have_different_fingerprints():
    item = SourceItem("a", Location("/x/a.tar", 512, 9), {"x": 1, "y": [None, "\ud800", 0.5]})
    others = [
        replace(item, key="b"),
        replace(item, meta={"x": 2}),
        replace(item, meta={}),
        *(replace(item, location=place) for place in (Location("/x/b.tar", 512, 9), Location("/x/a.tar", 0, 9))),
        replace(item, location=Location("/x/a.tar", None, 9, 512, "x")),
    ]
    made = {source_fingerprint(one) for one in [[item], *([other] for other in others), [], [item, item]]}
    assert len(made) == 9
    assert source_fingerprint([replace(item, meta=dict(reversed(item.meta.items())))]) == source_fingerprint([item])


def test_copies_and_repaired_files_have_the_same_fingerprint():
    def found(root, size):
        return [SourceItem(name, Location(f"{root}/{name}.wav", size=size)) for name in ("a/b", "a/c", "a-d/e")]

    assert (
        source_fingerprint(found("/data", 9))
        == source_fingerprint(found("/mnt/other/data", 9))
        == source_fingerprint(found("/data", None))
    )
    assert source_fingerprint(found("/data", 9)) != source_fingerprint(found("/data/a", 9)[:2])


def test_fingerprint_is_stable():
    item = SourceItem("ä", Location("/x/a.tar", 512, 9), {"x": 1})
    assert source_fingerprint([item]) == "934daad5e1eff9db7e1792ed24fee8aad8617aae3bc5ba8104441697a3efa393"
