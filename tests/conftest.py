import itertools
import os
import socket
import subprocess
import sys

import pytest

EVIL = '<script>alert("x")</script>&.wav'


@pytest.fixture(autouse=True)
def _no_trace_of_imports(tmp_path_factory):
    """Modules that a test wrote and imported, and the folders it added to the path, are gone afterwards."""
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    base = str(tmp_path_factory.getbasetemp())
    for name in sys.modules.keys() - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(base):
            del sys.modules[name]


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """tiny_checkpoint(name, seed) -> folder of a checkpoint for 16 kHz with small random weights, 3 codebooks of 16."""
    import torch

    from narrows.checkpoints import folder
    from narrows.codecs.audio.frames import FrameDecoder, FrameEncoder
    from narrows.codecs.bottlenecks.fsq import FSQ
    from narrows.codecs.codec import Codec
    from narrows.tokenizers.audio import AudioTokenizer

    def made(name="tiny", seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            encoder, decoder = FrameEncoder(8, width=16, depth=1), FrameDecoder(8, width=16, depth=1)
            codec = Codec(encoder, FSQ(8, (4, 4), groups=3, dropout=0.2), decoder)
            tokenizer = AudioTokenizer(codec, 16_000)
            tokenizer.name = name
            tokenizer.tables = tokenizer.fit_tables(tokenizer.encode(0.1 * torch.randn(80_000), 16_000).codes)
        path = tmp_path_factory.mktemp("models") / name
        folder.save(path, tokenizer, torch.float16)
        return path

    return made


@pytest.fixture(scope="session")
def image_checkpoint(tmp_path_factory):
    """Folder of a checkpoint for images with small random weights; a higher quality takes more bits."""
    import torch

    from narrows.checkpoints import folder
    from narrows.codecs import Codec, LappedDecoder, LappedEncoder, SpaceChannelContext
    from narrows.recipes.data.images import ImageFiles
    from narrows.recipes.data.synthetic import write_synthetic_images
    from narrows.recipes.training.fit_tables import fit_entropy_model_tables
    from narrows.tokenizers.image import ImageTokenizer

    place = tmp_path_factory.mktemp("images")
    write_synthetic_images(place / "data")
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = SpaceChannelContext((3, 5), 1, (8, 8))
        model.root_gain.copy_(torch.linspace(1, 6, 8).unsqueeze(1).expand_as(model.root_gain))
        model.inverse.copy_(model.root_gain.square().reciprocal())
        codec = Codec(LappedEncoder(8, 6, 2, 1), model, LappedDecoder(8, 6, 2, 2, 1)).eval()
        for predictor in itertools.chain(*model.predictors):
            torch.nn.init.normal_(predictor.out.weight, std=0.3)
        tokenizer = ImageTokenizer(codec)
        tokenizer.name, tokenizer.tables = "small", fit_entropy_model_tables(tokenizer, ImageFiles(place / "data"), 3)
    folder.save(place / "small", tokenizer, torch.float16)
    return place / "small"


@pytest.fixture(scope="session")
def tiny_video(tmp_path_factory):
    """Folder of a checkpoint for video with small random weights, one codebook of 625; its name is "tiny-video"."""
    import torch

    from narrows.checkpoints import folder
    from narrows.codecs import FSQ, Codec, FactorisedDecoder, FactorisedEncoder
    from narrows.tokenizers.video import VideoTokenizer

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        size = {"widths": (8, 8), "depths": (1, 1)}
        codec = Codec(FactorisedEncoder(4, **size), FSQ(4, (5, 5, 5, 5)), FactorisedDecoder(4, **size))
        tokenizer = VideoTokenizer(codec)
        tokenizer.name = "tiny-video"
        tokenizer.tables = tokenizer.fit_tables(tokenizer.encode(torch.rand(3, 9, 64, 64) * 2 - 1, 25).codes)
    path = tmp_path_factory.mktemp("models") / "tiny-video"
    folder.save(path, tokenizer, torch.float16)
    return path


@pytest.fixture(scope="session")
def two_ranks():
    """two_ranks(script, *arguments): run a script in two processes, as the ranks of a distributed run on CPUs."""

    def ran(script, *arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
        shared |= {"NODE_RANK": "0", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, "-c", script, *arguments]
        ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
        children = [subprocess.Popen(command, env=os.environ | shared | rank) for rank in ranks]
        try:
            assert [child.wait(300) for child in children] == [0, 0]
        finally:
            for child in children:
                child.kill()

    return ran


@pytest.fixture(scope="session")
def evil():
    """An item name that contains markup."""
    return EVIL


@pytest.fixture(scope="session")
def audio_samples():
    """audio_samples(seconds) -> three samples: a tone and two noisier versions of it, at 16 kHz."""
    import numpy as np

    from narrows.media.audio import Audio
    from narrows.report.embedding import MediaSample

    def make(seconds=2.0):
        samples = []
        for index, name in enumerate((EVIL, "1.wav", "2.wav")):
            time = np.arange(round(16_000 * seconds)) / 16_000
            tone = np.float32(0.3 * np.sin(2 * np.pi * 220 * (index + 1) * time))[None]
            noise = np.random.default_rng(index).standard_normal(tone.shape).astype(np.float32)
            decoded = {f"ours@{k}": Audio(tone + noise / (10 * k), 16_000) for k in (6, 12)}
            samples.append(MediaSample(name, Audio(tone, 16_000), decoded))
        return samples

    return make


@pytest.fixture(scope="session")
def image_samples():
    """image_samples(side) -> two samples of noise on a ramp, hard to compress; one decoded version is grey."""
    import numpy as np

    from narrows.media.image import Image
    from narrows.report.embedding import MediaSample

    def make(side=64):
        samples = []
        for index in range(2):
            noise = np.random.default_rng(index).integers(0, 100, (3, side, side + 20))
            pixels = np.uint8(noise + np.linspace(0, 150, side + 20))
            grey = np.broadcast_to(pixels.mean(0, keepdims=True), pixels.shape).astype(np.uint8)
            decoded = {"jpeg@10": Image(grey), "jpeg@50": Image(pixels)}
            samples.append(MediaSample(f"{index}.png", Image(pixels), decoded))
        return samples

    return make


@pytest.fixture(scope="session")
def video_samples():
    """video_samples(frames, height, width) -> two samples: a bar that moves in each clip, and two grey levels of it."""
    from fractions import Fraction

    import numpy as np

    from narrows.media.video import Video
    from narrows.report.embedding import MediaSample

    def make(frames=50, height=64, width=96):
        samples = []
        for index in range(2):
            pixels = np.full((3, frames, height, width), 40 + 60 * index, np.uint8)
            for frame in range(frames):
                pixels[:, frame, :, frame : frame + 4] = 255
            decoded = {f"ours@{level}": Video(pixels // 8 * level, Fraction(25)) for level in (4, 7)}
            samples.append(MediaSample(f"{index}.mp4", Video(pixels, Fraction(25)), decoded))
        return samples

    return make
