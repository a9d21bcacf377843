"""DNSMOS, DistillMOS and speaker similarity, compared with the packages whose weights they use."""

import warnings

import numpy as np
import pytest
import soundfile

from narrows.errors import InputError
from narrows.evaluation.base import NotMeasurable, metric_definition
from narrows.evaluation.metrics import distillmos, dnsmos, metric, requirements, speaker_similarity
from narrows.media.audio import Audio

NAMES = ("dnsmos", "distillmos", "speaker-similarity")


@pytest.fixture(scope="module")
def speech(request):
    samples, rate = soundfile.read(request.config.rootpath / "examples" / "speech.wav", dtype="float32")
    assert rate == 16_000
    return samples


def checked(name):
    """The metric; skips the test if its package is missing."""
    try:
        metric(name).check()
    except InputError as error:
        pytest.skip(str(error))
    return metric(name)


def reference(module):
    """A package that only tests import; skips the test if something that the package itself needs is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(module, reason=f"{module} needs librosa and more", exc_type=ImportError)


def clip(samples, seconds):
    return np.tile(samples, 3)[: round(16_000 * seconds)]


@pytest.mark.parametrize("seconds", [1.3, 9.5, 12.7])
def test_dnsmos_is_that_of_the_package(seconds, speech):
    measure = checked("dnsmos").measure
    package = reference("speechmos.dnsmos")
    x = Audio(clip(speech, seconds)[None], 16_000)
    assert measure(x, x) == pytest.approx(package.run(x.samples[0], 16_000)["ovrl_mos"], abs=1e-4)


@pytest.mark.parametrize("seconds", [1.3, 9.5])
def test_distillmos_is_that_of_the_package(seconds, speech):
    measure = checked("distillmos").measure
    import torch
    from distillmos import ConvTransformerSQAModel

    x = Audio(clip(speech, seconds)[None], 16_000)
    with torch.inference_mode():
        expected = float(ConvTransformerSQAModel().eval()(torch.from_numpy(x.samples)))
    assert measure(x, x) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("seconds", [1.3, 1.7, 6.0])
def test_speaker_embedding_is_that_of_the_package(seconds, speech):
    checked("speaker-similarity")
    package = reference("resemblyzer")
    x = clip(speech, seconds)
    expected = package.VoiceEncoder("cpu", verbose=False).embed_utterance(x)
    assert speaker_similarity.embedding(x) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_values(name, speech, noisy):
    """Noise makes each worse; each is repeatable, and equal for audio at another rate and in two channels."""
    measure = checked(name).measure
    x = Audio(clip(speech, 8)[None], 16_000)
    clean, bad = measure(x, x), measure(x, noisy(x, 0.05))
    assert bad < clean - 0.03
    assert measure(x, x) == clean
    wide = x.resampled(48_000)
    assert measure(wide, wide) == pytest.approx(clean, abs=0.1)
    both = Audio(np.concatenate([x.samples, noisy(x, 0.05).samples]), 16_000)
    assert measure(Audio(np.repeat(x.samples, 2, 0), 16_000), both) == pytest.approx((clean + bad) / 2, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_short_silent_and_loud_audio(name, speech):
    measure = checked(name).measure
    short = Audio(speech[None, :15_000], 16_000)
    with pytest.raises(NotMeasurable, match="too short"):
        measure(short, short)
    x = Audio(clip(speech, 2)[None], 16_000)
    with pytest.raises(NotMeasurable, match="silence"):
        measure(Audio(0 * x.samples, 16_000), x)
    assert measure(x, Audio(0 * x.samples, 16_000)) < measure(x, x)  # a codec that returns silence gets a bad value
    assert np.isfinite(measure(x, Audio(20 * x.samples, 16_000)))


@pytest.mark.parametrize(("module", "size", "hop"), [(dnsmos, 144_160, 16_000), (distillmos, 122_880, 16_000)])
def test_segments(module, size, hop):
    """All have one length and lie at most a second apart; a long recording is not copied."""
    for length in (16_000, size - 1, size, size + 1, 10 * hop, 600 * hop + 7):
        x = np.linspace(-1, 1, length, dtype=np.float32)
        found = [*module.segments(x)]
        assert {len(segment) for segment in found} == {size}
        assert length - size - 2 * hop < (len(found) - 1) * hop < max(length, 2 * size) - size + hop
        starts = [segment[0] for segment in found]
        assert starts == sorted(starts)


def test_quiet_speech_is_raised(speech):
    """The level of a voice does not count below -30 dB, as in resemblyzer."""
    measure = checked("speaker-similarity").measure
    x = clip(speech, 3)
    quiet = Audio(0.001 * x[None], 16_000)
    level = np.sqrt(np.square(x).mean())
    raised = Audio(np.float32(10**-1.5 / level) * x[None], 16_000)
    assert measure(quiet, raised) == pytest.approx(1, abs=1e-4)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"expected the package resemblyzer; pip install 'narrows\[quality\]'"):
        metric("speaker-similarity").check()
    import numpy

    monkeypatch.setattr(requirements, "find_spec", lambda name: numpy.__spec__)
    with pytest.raises(InputError, match=r"expected pretrained\.pt in the package resemblyzer, got none"):
        metric("speaker-similarity").check()


@pytest.mark.parametrize(("name", "package"), [*zip(NAMES, ("speechmos", "distillmos", "resemblyzer"), strict=True)])
def test_versions_are_part_of_the_definition(name, package):
    definition = metric_definition(checked(name))
    assert f" {package} " in definition
    assert " soxr " in definition
