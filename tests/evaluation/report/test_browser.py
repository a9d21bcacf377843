"""The page in a real browser: content, keyboard control, no network requests."""

import shutil

import pytest
from playwright import sync_api as playwright

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no program chromium")
ARGUMENTS = (
    "--no-sandbox --headless --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required"
)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS.split())
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """opened(folder, width) -> its page; the test fails if the page logs an error or requests anything else."""
    context, errors = None, []

    def open_page(folder, width=1280):
        nonlocal context
        size = {"width": width, "height": 800}
        context = browser.new_context(viewport=size, has_touch=width < 500, reduced_motion="reduce")
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        address = (folder / "index.html").as_uri()
        page.on("request", lambda request: request.url.startswith((address, "data:")) or errors.append(request.url))
        page.goto(address)
        return page

    yield open_page
    context.close()
    assert errors == []


def time_of(page, index):
    return page.evaluate(f"document.querySelectorAll('audio')[{index}].currentTime")


def paused(page):
    return page.evaluate("[...document.querySelectorAll('audio')].slice(0, 3).map((player) => player.paused)")


def plays(page, index):
    """Waits until a player advances; the page's content security policy forbids waiting inside it."""
    before, tries = time_of(page, index), 200
    while time_of(page, index) <= before + 0.05:
        page.wait_for_timeout(25)
        tries -= 1
        assert tries, f"player {index} does not play"


def test_keys_play_and_switch_at_the_same_position(opened, audio_report):
    page = opened(audio_report)
    page.keyboard.press(" ")
    plays(page, 0)
    before = time_of(page, 0)
    page.keyboard.press("2")
    plays(page, 2)
    assert paused(page) == [True, True, False]
    assert time_of(page, 2) > before
    assert page.locator(".versions button[aria-pressed=true]").first.inner_text() == "2"
    page.keyboard.press(" ")
    assert paused(page) == [True] * 3
    there = time_of(page, 2)
    page.keyboard.press("0")
    page.keyboard.press("7")  # there is no such version
    assert paused(page) == [True] * 3
    assert time_of(page, 0) == pytest.approx(there, abs=0.01)


def test_only_one_player_plays(opened, audio_report):
    page = opened(audio_report)
    page.evaluate("document.querySelectorAll('audio')[0].play()")
    plays(page, 0)
    page.evaluate("document.querySelectorAll('audio')[4].play()")
    plays(page, 4)
    assert paused(page) == [True] * 3
    page.keyboard.press("0")  # of the second item
    plays(page, 3)


def test_click_switches_like_a_key(opened, audio_report):
    page = opened(audio_report)
    page.evaluate("document.querySelectorAll('audio')[0].currentTime = 0.5")
    page.locator(".versions button").nth(1).click()
    assert time_of(page, 1) == pytest.approx(0.5, abs=0.01)


def test_tables_sort(opened, audio_report):
    page = opened(audio_report)
    rates = "[...document.querySelectorAll('.sortable tbody tr')].map((row) => Number(row.cells[1].dataset.value))"
    head = page.locator(".sortable thead th").nth(1)
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    rising = page.evaluate(rates)
    assert rising == sorted(rising)
    assert head.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert page.evaluate(rates) == rising[::-1]
    speeds = page.locator(".sortable thead th", has_text="encode")
    speeds.get_by_role("button").click()
    names = page.locator(".sortable tbody th").all_inner_texts()
    assert [name.split("@")[0] for name in names] == ["ours"] * 4 + ["opus"] * 4  # without a speed: last
    assert head.get_attribute("aria-sort") == "none"


def test_tooltips_of_plots(opened, audio_report):
    page = opened(audio_report)
    page.locator(".plot").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#tooltip").inner_text().startswith("opus@6: ")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#tooltip").inner_text().startswith("ours@16: ")
    box = page.locator(".plot .mark").nth(1).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] / 2)
    assert page.locator("#tooltip").inner_text().startswith("opus@8: ")
    page.mouse.move(1, 1)
    assert page.locator("#tooltip").is_hidden()


def test_legend_hides_a_codec_in_all_plots_that_share_it(opened, audio_report):
    page = opened(audio_report)
    page.locator("#curves ~ .legend").get_by_role("button", name="opus").click()
    shown = page.locator("#curves ~ .plots .series:visible").evaluate_all("all => all.map((one) => one.dataset.series)")
    assert shown == ["ours", "ours"]
    assert page.locator("#more ~ .plots .series[data-series]:visible").count() == 5


def test_image_slider(opened, image_report):
    page = opened(image_report)
    left = page.locator(".stage img").first
    slider = page.get_by_role("slider").first
    assert "50%" in left.evaluate("image => image.style.clipPath")
    slider.focus()
    page.keyboard.press("End")
    assert left.evaluate("image => image.style.clipPath") == "inset(0px 0% 0px 0px)"
    box = page.locator(".stage").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + 20)
    assert float(slider.input_value()) == pytest.approx(25, abs=2)
    page.locator("select.left").first.select_option("jpeg@10")
    assert page.locator(".stage").first.locator("img:not(.hidden)").evaluate_all(
        "all => all.map((one) => one.alt)"
    ) == [
        "0.png, jpeg@10",
        "0.png, jpeg@50",
    ]
    assert "psnr 10.00 dB" in page.locator(".sides .values").first.inner_text()


def state(page):
    """Of the videos of the first item: number of the shown one, number of the selected one, which are paused."""
    return page.evaluate(
        """(() => {
          const item = document.querySelector(".item"), videos = [...item.querySelectorAll("video")];
          const buttons = [...item.querySelectorAll(".versions button")];
          return {
            shown: videos.flatMap((one, k) => getComputedStyle(one).visibility === "visible" ? [k] : []),
            selected: buttons.flatMap((one, k) => one.getAttribute("aria-pressed") === "true" ? [k] : []),
            paused: videos.map((one) => one.paused),
            times: videos.map((one) => one.currentTime),
          };
        })()"""
    )


def shows(page, index):
    """Waits until a video is shown."""
    for _ in range(200):
        found = state(page)
        if found["shown"] == [index]:
            return found
        page.wait_for_timeout(25)
    raise AssertionError(f"video {index} is not shown: {found}")


def video_plays(page, index):
    before, found = state(page)["times"][index], None
    for _ in range(200):
        found = state(page)
        if not found["paused"][index] and found["times"][index] != before:
            return found
        page.wait_for_timeout(25)
    raise AssertionError(f"video {index} does not play: {found}")


def test_videos_switch_at_the_same_instant(opened, video_report):
    page = opened(video_report)
    assert shows(page, 0)["paused"] == [True] * 3
    page.evaluate("document.querySelector('video').currentTime = 0.62")
    shows(page, 0)
    page.keyboard.press("2")  # paused before, paused after
    found = shows(page, 2)
    assert found["selected"] == [2]
    assert found["paused"] == [True] * 3
    assert found["times"][2] == found["times"][0] == pytest.approx(0.62, abs=1e-3)
    page.keyboard.press(" ")
    video_plays(page, 2)
    page.locator(".versions button").nth(1).focus()
    before = state(page)["times"][2]
    page.keyboard.press("Enter")
    found = video_plays(page, 1)
    assert shows(page, 1)["paused"] == [True, False, True]
    assert found["times"][1] >= before or found["times"][1] < 0.5  # or it began again
    page.keyboard.press("0")
    video_plays(page, 0)
    page.keyboard.press("1")
    page.keyboard.press("2")  # before the picture of 1 is there
    assert shows(page, 2)["selected"] == [2]


def test_picture_of_the_selected_video_is_on_the_screen(opened, video_report):
    """Grey levels of the background: 40, 40 // 8 * 4 and 40 // 8 * 7."""
    import io

    import numpy as np
    from PIL import Image

    page = opened(video_report)
    page.evaluate("document.querySelectorAll('video').forEach((one) => { one.controls = false; })")  # they darken it
    for key, level in (("0", 40), ("1", 20), ("2", 35), ("0", 40)):
        page.keyboard.press(key)
        shows(page, int(key))
        page.wait_for_timeout(100)
        picture = np.asarray(Image.open(io.BytesIO(page.locator(".screen").first.screenshot())))
        assert picture[10, 60, :3].mean() == pytest.approx(level, abs=3)


@pytest.mark.parametrize("report", ["audio_report", "image_report", "video_report"])
def test_page_fits_a_phone(opened, request, report):
    page = opened(request.getfixturevalue(report), width=360)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.locator(".plot .mark").last.tap()
    assert page.locator("#tooltip").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
