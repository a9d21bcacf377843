"""The processes of a run: devices, nodes, precision, and Lightning's trainer.

    codec train ... --devices 8 --nodes 2
    │ node 0                                            │ node 1
    ├── LOCAL_RANK=0   rank 0, which writes the files   ├── LOCAL_RANK=0   rank 8
    └── LOCAL_RANK=1   rank 1 ...                       └── LOCAL_RANK=1   rank 9 ...

Each node is started once, with MASTER_ADDR, MASTER_PORT and NODE_RANK, and Lightning starts its further processes; or
torchrun or srun starts all of them.
"""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import lightning
import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import DDPStrategy

from narrows.codecs import distributed as ranks
from narrows.errors import InputError, shortened
from narrows.recipes.training.base import Training
from narrows.recipes.training.loop import Loop
from narrows.recipes.training.record import as_text, differences
from narrows.recipes.training.run_folder import remove_partial

WATCH_EVERY = 0.2  # seconds between two looks at the processes of other devices
VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
BY_HAND = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")  # what a node needs that neither torchrun nor srun started
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}  # Lightning's names
SLURM_SHELLS = ("bash", "interactive")  # names of jobs in which programs are not started by srun


@dataclass(frozen=True)
class Launch:
    """What a run is executed on.

    Args:
        devices: GPUs, or processes on a CPU, of each node.
        nodes: Machines.
        precision: "bf16" for networks in bfloat16 (autocast; weights, losses, distances and validation stay float32),
            "fp32", or "auto": bf16 on a GPU that has it, else fp32.

    Raises:
        InputError: For more devices than there are, another precision, or an environment of another number of
            processes.
    """

    devices: int = 1
    nodes: int = 1
    precision: str = "auto"

    def __post_init__(self) -> None:
        available = torch.cuda.device_count() if torch.cuda.is_available() else None
        available = 1 if torch.backends.mps.is_available() else available
        if type(self.devices) is not int or self.devices < 1 or (available is not None and self.devices > available):
            limit = "at least 1 device" if available is None else f"1 to {available} devices"
            raise InputError(f"expected {limit}, got {self.devices!r}")
        if type(self.nodes) is not int or self.nodes < 1:
            raise InputError(f"expected at least 1 node, got {self.nodes!r}")
        if self.precision not in ("auto", *PRECISIONS):
            raise InputError(f"expected a precision of auto, {', '.join(PRECISIONS)}, got {shortened(self.precision)}")
        without = not _gpu_has_bf16() if torch.cuda.is_available() else torch.backends.mps.is_available()
        if self.precision == "bf16" and without:
            raise InputError("expected a GPU that computes in bfloat16, got one that does not; give --precision fp32")
        self._check_environment()

    @property
    def count(self) -> int:
        """Number of ranks."""
        return self.devices * self.nodes

    @property
    def first(self) -> bool:
        """Whether this process is the first rank, by its environment."""
        return self.count == 1 or ranks.is_launched_first()

    @property
    def lightning_precision(self) -> str:
        """Lightning's name of the precision."""
        auto = "bf16" if torch.cuda.is_available() and _gpu_has_bf16() else "fp32"
        return PRECISIONS[auto if self.precision == "auto" else self.precision]

    def trainer(self, loop: Loop, settings: dict[str, Any]) -> lightning.Trainer:
        """The trainer of a run, whose settings must be those of all ranks."""
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        return lightning.Trainer(
            max_epochs=-1,  # the Loop stops the run after its last step
            logger=False,
            callbacks=[loop],
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            use_distributed_sampler=False,  # each rank has crops of its own
            devices=self.devices,
            num_nodes=self.nodes,
            strategy=_Ranks(settings) if self.count > 1 else "auto",
            plugins=[_BFloat16()] if self.lightning_precision == PRECISIONS["bf16"] else [],
        )

    def leave(self) -> None:
        """Wait for the other ranks, and end the process group."""
        if self.count > 1:
            try:
                ranks.leave()
            except RuntimeError:  # the first rank has ended
                raise SystemExit(1) from None

    def _check_environment(self) -> None:
        """Raise InputError unless the processes that were started are those of `devices` and `nodes`."""
        wanted = f"{self.count} processes for --devices {self.devices} --nodes {self.nodes}"
        if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
            if (started := os.environ.get("WORLD_SIZE")) != str(self.count):
                raise InputError(
                    f"expected {wanted}, got {started} of torchrun; give it --nnodes {self.nodes} "
                    f"--nproc-per-node {self.devices}"
                )
        elif "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in SLURM_SHELLS:
            started, each = os.environ["SLURM_NTASKS"], os.environ.get("SLURM_NTASKS_PER_NODE")
            # a single process may run in a job of more tasks, without srun
            if self.count > 1 and (started, each) != (str(self.count), str(self.devices)):
                raise InputError(
                    f"expected {wanted}, got {started} of srun, {each or 'no number'} on each node; give it "
                    f"--nodes {self.nodes} --ntasks-per-node {self.devices}"
                )
        elif self.nodes > 1:
            if missing := [name for name in BY_HAND if name not in os.environ]:
                raise InputError(
                    f"expected {', '.join(BY_HAND)} in the environment of each node, got no {missing[0]}; set them, "
                    "or start the nodes with torchrun or srun"
                )
            rank = os.environ["NODE_RANK"]
            if rank not in map(str, range(self.nodes)):
                raise InputError(f"expected NODE_RANK from 0 to {self.nodes - 1}, got {shortened(rank)}; correct it")


class _BFloat16(MixedPrecision):
    """Training steps with autocast to bfloat16; validation in float32, as trained codecs are used."""

    def __init__(self) -> None:
        super().__init__("bf16-mixed", "cuda" if torch.cuda.is_available() else "cpu")

    @contextmanager
    def val_step_context(self) -> Iterator[None]:
        """No autocast."""
        yield


class _Ranks(DDPStrategy):
    """Processes that share weights, gradients and statistics by `narrows.codecs.distributed` alone.

    DDP's own wrapper expects one backward pass per step with gradients for all parameters. Here a step has one for each
    optimizer, and each phase of the training its own parameters.

    Args:
        settings: Settings of the run, which must be those of all ranks.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self._settings = settings

    def configure_ddp(self) -> None:
        """Compare the settings of all ranks, and give them the weights of the first."""
        assert isinstance(self.model, Training)
        first, *others = ranks.gather_objects(self._settings)
        for rank, settings in enumerate(others, 1):
            if found := [each for each in differences(first, settings) if not _is_local(*each)]:
                raise InputError(
                    f"expected one command on all nodes, got other settings on rank {rank}: {as_text(found)}; give "
                    "all of them the same, and an --out that they share"
                )
        ranks.broadcast(self.model)


@contextmanager
def environment_kept() -> Iterator[None]:
    """Remove variables that Lightning sets for its other processes, so that a later run starts its own."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(VARIABLES) - before.keys():
            os.environ.pop(name, None)


@contextmanager
def lightning_quiet() -> Iterator[None]:
    """Hide Lightning's advice on workers and loggers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        yield


def watch(launcher: Any, loop: Loop, out: Path) -> None:
    """End this process as soon as one that it has started for another device fails.

    Without it, this process would wait for the other one, until Lightning kills it after some seconds (exit code 137).
    A process that ends with code 2 has said what is wrong.
    """
    while not loop.closed.wait(WATCH_EVERY):
        processes: list[Popen[bytes]] = launcher.procs  # another list once they are started
        for device, process in enumerate(processes, 1):
            code = process.poll()
            if not code or loop.closed.is_set():
                continue
            for other in processes:
                other.kill()
            remove_partial(out)
            if code != 2:
                print(f"codec: the process of device {device} failed with exit code {code}", file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if code > 0 else 128 - code)


def _is_local(name: str, *values: Any) -> bool:
    """Whether a setting may differ between nodes: a path, or the digest of the paths that were found."""
    return name.endswith(".digest") or all(isinstance(value, str) and os.path.isabs(value) for value in values)


def _gpu_has_bf16() -> bool:
    return torch.cuda.is_bf16_supported(including_emulation=False)
