"""The recipe that goes on training a finished codec of audio: one of this library, or a public one of another."""

from narrows.checkpoints.load import load
from narrows.codecs.one_way import NoDecoder, NoEncoder
from narrows.errors import InputError
from narrows.recipes.audio import FLOOR, RESOLUTIONS
from narrows.recipes.discriminators import audio_discriminators
from narrows.recipes.losses.stft import ComplexSTFTLoss, MidSide, MultiResolutionSTFTLoss
from narrows.recipes.settings import AdamW, Adversarial, AudioData, Schedule
from narrows.recipes.training.audio import AudioRecipe

WAVEFORM_WINDOW = 0.03  # seconds of the window of the waveform loss


def finetune(
    init: str = "speech",
    freeze: str = "encoder,bottleneck",
    data: AudioData = AudioData(speeds=(1.0,)),
    optimizer: AdamW = AdamW(lr=1e-4),
    schedule: Schedule = Schedule(steps=10_000, ema_decay=0.998),
    adversarial: Adversarial = Adversarial(start=500),
    waveform_weight: float = 0.3,
    seed: int = 0,
    name: str = "my-finetune",
) -> AudioRecipe:
    """Train a finished codec of audio on other recordings.

    Args:
        init: Model that the run starts with, as `narrows.load` takes it: a name, folder, file or hub repository.
        freeze: Parts that keep their weights, with commas: encoder, bottleneck, decoder; '' trains the whole model.
            With encoder and bottleneck, codes stay those of the model: only the sound of the decoder changes.
        data: Training and validation data.
        optimizer: Optimizer of the codec.
        schedule: Length of the run, learning-rate schedule, validation, EMA.
        adversarial: Discriminators and their losses. They start without training, so the codec first goes on without.
        waveform_weight: Weight of the complex STFT loss, which keeps the decoded waveform in phase with the original.
        seed: Seed of initial weights and data.
        name: Name of the trained model, which streams and tokens carry.
    """
    tokenizer = load(init)
    if tokenizer.medium.name != "audio" or tokenizer.sample_rate is None:
        raise InputError(f"expected a model of audio, got {tokenizer.name}, one of {tokenizer.medium.name}")
    for part in (tokenizer.codec.encoder, tokenizer.codec.decoder):
        if isinstance(part, NoEncoder | NoDecoder):
            raise InputError(
                f"expected a model that encodes and decodes, got {tokenizer.name}, which has no {part.kind}; choose "
                "another"
            )
    rate, codec = tokenizer.sample_rate, tokenizer.codec.requires_grad_(True).train()
    spectral = MultiResolutionSTFTLoss(rate, RESOLUTIONS, FLOOR)
    return AudioRecipe(
        name=name,
        codec=codec,
        sample_rate=rate,
        data=data,
        losses={
            "spectral": (1.0, MidSide(spectral) if codec.channels == 2 else spectral),
            "waveform": (waveform_weight, ComplexSTFTLoss(1 << round(WAVEFORM_WINDOW * rate).bit_length() - 1)),
        },
        frozen=tuple(part.strip() for part in freeze.split(",") if part.strip()),
        half=False,  # codes of a frozen encoder stay the same
        optimizer=optimizer,
        schedule=schedule,
        adversarial=adversarial,
        discriminators=audio_discriminators(adversarial.width),
        seed=seed,
    )
