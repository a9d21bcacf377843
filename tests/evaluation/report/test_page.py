import base64
import hashlib
import os
import re
from html.parser import HTMLParser

import pytest

from narrows.errors import MediaError
from narrows.evaluation.report import write_report

VOID = {"img", "input", "link", "meta"}


class Page(HTMLParser):
    """Elements by tag, and the text; refuses elements that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.open = [], "", []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data + "\n"

    def all(self, tag, **wanted):
        return [
            attributes for name, attributes in self.elements if name == tag and wanted.items() <= attributes.items()
        ]


@pytest.fixture
def text(audio_report):
    return (audio_report / "index.html").read_text()


@pytest.fixture
def page(text):
    return Page(text)


def test_all_sections_exist_and_are_linked(page):
    anchors = [attributes["id"] for attributes in page.all("h2")]
    wanted = ["curves", "bd-rate", "points", "media", "more", "codebooks", "metrics", "skipped", "setup"]
    assert anchors == wanted
    assert [attributes["href"] for attributes in page.all("a") if attributes["href"].startswith("#")] == [
        f"#{name}" for name in wanted
    ]
    for expected in ("six recordings", "2026-01-02", "Mean difference of 80 mel bands.", "FFmpeg without libmp3lame"):
        assert expected in page.text
    assert "mel: silence" in page.text
    assert "75%" in page.text
    for expected in ("codes", "per second", "codes used", "perplexity", "9.19"):  # in the table of points
        assert expected in page.text


def test_empty_sections_are_omitted(image_report):
    page = Page((image_report / "index.html").read_text())
    assert [attributes["id"] for attributes in page.all("h2")] == ["curves", "points", "media", "metrics", "setup"]


def test_every_plot_has_its_files(page, audio_report):
    names = {"rate-1-sdr", "rate-2-mel", "bit-flips-1-sdr", "log-spectral-distance", "noise-to-signal"}
    assert {attributes["href"] for attributes in page.all("a") if attributes["href"].startswith("plots/")} == {
        f"plots/{name}.{kind}" for name in names for kind in ("png", "csv")
    }
    assert set(os.listdir(audio_report / "plots")) == {f"{name}.{kind}" for name in names for kind in ("png", "csv")}
    assert len(page.all("svg", **{"class": "plot"})) == 5


def test_operating_points(page, results):
    values = [attributes["data-value"] for attributes in page.all("td") if "data-value" in attributes]
    summary = results().summaries()[0]
    wanted = [summary.rate.mean, summary.metrics["sdr"].mean, summary.metrics["mel"].mean]
    assert list(map(float, values[:3])) == pytest.approx(wanted)
    assert "1 failed" in page.text
    assert "6 items" in page.text
    assert len(page.all("span", **{"class": "pareto-marker", "title": "on the Pareto front"})) == 8


def test_bd_rates_of_all_pairs(page):
    assert len(page.all("td", **{"class": "better"})) == 2
    assert len(page.all("td", **{"class": "worse"})) == 2


def test_names_are_escaped(page, text, evil):
    assert evil in page.text
    assert evil not in text
    assert len(page.all("script")) == 1
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_nothing_is_loaded_from_the_network(page, text):
    for _, attributes in page.elements:
        for name in ("src", "href"):
            assert re.match(r"data:|#|plots/", attributes.get(name, "#"))
    assert "url(" not in text
    assert "@import" not in text


def test_content_security_policy_allows_only_the_inline_style_and_script(page, text):
    (policy,) = (attributes["content"] for attributes in page.all("meta") if "http-equiv" in attributes)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        (inside,) = re.findall(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode() in policy
    assert not any("style" in attributes for _, attributes in page.elements)


def test_audio_players(page):
    players = page.all("audio")
    assert len(players) == 9
    assert all("controls" in attributes and attributes["aria-label"] for attributes in players)
    assert "FLAC, 16 bits" in page.text
    assert "switch at the same position" in page.text


def test_images_have_a_slider(image_report):
    page = Page((image_report / "index.html").read_text())
    assert len(page.all("input", type="range")) == 2
    assert len(page.all("img")) == 6
    assert len(page.all("select")) == 4
    assert "bits per pixel · psnr" in " ".join(attributes.get("data-values") or "" for attributes in page.all("option"))


def test_videos_have_buttons_and_a_screen(video_report):
    page = Page((video_report / "index.html").read_text())
    players = page.all("video")
    assert len(players) == 6
    assert all("controls" in attributes and attributes["aria-label"] for attributes in players)
    labels = [attributes.get("aria-label") for attributes in page.all("button", type="button")]
    assert labels[-3:] == ["Select reference", "Select ours@4", "Select ours@7"]
    assert page.all("div", **{"class": "screen"})
    assert [attributes.get("class") for attributes in players] == ["shown", None, None] * 2
    assert "H.264 (crf 16), up to 3 s" in page.text
    assert "bits per pixel · psnr 40.00 dB" in page.text


def test_accessible_names(page):
    for attributes in page.all("svg", **{"class": "plot"}) + page.all("div", **{"class": "scroll"}):
        assert attributes["aria-label"]
        assert attributes["role"]
    assert page.all("html", lang="en")
    assert len(page.all("h1")) == 1


def test_page_with_long_audio_stays_small(results, audio_samples, tmp_path):
    write_report(results(), tmp_path, 3 * audio_samples(8))
    assert 5_000_000 < (tmp_path / "index.html").stat().st_size < 8_000_000


def test_existing_report_is_replaced_only_with_overwrite(results, tmp_path):
    write_report(results(), tmp_path)
    first = (tmp_path / "index.html").read_bytes()
    with pytest.raises(MediaError, match="exists already"):
        write_report(results(), tmp_path)
    write_report(results(), tmp_path, overwrite=True)
    assert (tmp_path / "index.html").read_bytes() == first
