import json
import pickle
from fractions import Fraction

import numpy as np
import pytest

from narrows.errors import InputError
from narrows.evaluation import base
from narrows.evaluation.base import Metric, NotMeasurable, metric_definition
from narrows.evaluation.by_medium import EVALUATIONS
from narrows.evaluation.metrics import metric, metric_of, metrics
from narrows.media.audio import Audio
from narrows.media.image import Image
from narrows.media.video import Video

# need optional packages or weights, or judge speech only
EXTRAS = {"visqol-audio", "visqol-speech", "dnsmos", "distillmos", "speaker-similarity", "lpips"}
PLAIN = [one for one in metrics().values() if isinstance(one, Metric) and one.name not in EXTRAS]
PLAIN += [metric_of(one.name, "video") for one in PLAIN if one.medium == "image"]


def test_metrics_are_found_by_name():
    assert metric("ms-ssim") is metric("ms-ssim")
    with pytest.raises(InputError, match="no metric 'pesq_wb'; did you mean 'pesq-wb'"):
        metric("pesq_wb")
    with pytest.raises(InputError, match="known are pesq-wb, stoi"):
        metric("xyz")


def test_every_metric_has_a_medium_and_a_description():
    assert {metric.medium for metric in metrics().values()} == {"audio", "image", "video"}
    for medium, evaluation in EVALUATIONS.items():
        assert {metric_of(name, medium).medium for name in evaluation.metrics} == {medium}
    for name, one in metrics().items():
        assert one.description.endswith(".")
        assert pickle.loads(pickle.dumps(one)).name == name


@pytest.mark.parametrize("one", PLAIN, ids=lambda one: f"{one.medium}-{one.name}")
def test_less_noise_scores_better(one, voice, photo, noisy):
    _checked(one)
    picture = photo()
    signals = {"audio": voice(), "image": picture, "video": Video(picture.pixels[:, None].repeat(3, 1), Fraction(25))}
    reference = signals[one.medium]
    good, bad = (one.measure(reference, noisy(reference, amount)) for amount in (0.002, 0.1))
    assert good > bad if one.better == "higher" else good < bad
    assert type(good) is float
    json.dumps(good, allow_nan=False)


@pytest.mark.parametrize("one", PLAIN, ids=lambda one: f"{one.medium}-{one.name}")
@pytest.mark.parametrize("length", [1, 2, 40])
def test_tiny_signals_give_a_finite_value_or_a_reason(one, length, noisy):
    _checked(one)
    rng = np.random.default_rng(0)
    recording = Audio(0.1 * rng.standard_normal((1, length), np.float32), 16_000)
    image = Image(rng.integers(0, 256, (3, length, length), np.uint8))
    signals = {
        "audio": recording,
        "image": image,
        "video": Video(image.pixels[:, None].repeat(length, 1), Fraction(25)),
    }
    reference = signals[one.medium]
    assert _number_or_reason(one, reference, noisy(reference))


@pytest.mark.parametrize("one", [one for one in PLAIN if one.medium == "audio"], ids=lambda one: one.name)
def test_undefined_audio_metrics_have_a_reason(one, voice):
    _checked(one)
    x = voice()
    silence, broken = Audio(0 * x.samples, x.sample_rate), Audio(x.samples * np.nan, x.sample_rate)
    with pytest.raises(NotMeasurable, match=r"^silence$"):
        one.measure(silence, x)
    with pytest.raises(NotMeasurable, match="samples are not finite"):
        one.measure(x, broken)
    with pytest.raises(NotMeasurable, match="no samples"):
        one.measure(*[Audio(x.samples[:, :0], x.sample_rate)] * 2)
    assert _number_or_reason(one, x, silence)


def _number_or_reason(one, reference, decoded):
    try:
        return np.isfinite(one.measure(reference, decoded))
    except NotMeasurable as reason:
        return str(reason)


def _checked(one):
    try:
        one.check()
    except InputError as error:
        pytest.skip(str(error))


def test_definition_includes_package_versions(monkeypatch):
    definitions = metric_definition(metric("psnr")), metric_definition(metric("mel-level-difference"))
    assert definitions[0] == metric("psnr").description
    monkeypatch.setattr(base, "version", lambda name: "0.0.7")
    assert metric_definition(metric("psnr")) == definitions[0]
    assert (
        metric_definition(metric("mel-level-difference"))
        == f"{metric('mel-level-difference').description} soxr 0.0.7. torchaudio 0.0.7."
        != definitions[1]
    )
