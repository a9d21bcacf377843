"""Two processes that see different data hold one codebook."""

import socket
import subprocess
import sys

import torch

SCRIPT = """
import sys
import torch
from torch import distributed
from narrows.codecs import VQ, EMACodebook, LearnedCodebook, StraightThrough

rank, port, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.set_num_threads(1)
torch.manual_seed(100)
made = [VQ(4, EMACodebook(4, 32, 0.8), StraightThrough()), VQ(4, LearnedCodebook(4, 32, 0.8), StraightThrough())]
distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
torch.manual_seed(rank)
states = []
for bottleneck in made:
    bottleneck.train()
    for step in range(30):
        shift = 6.0 * rank + (20.0 if step > 5 else 0.0)  # the jump leaves codes behind, which then start anew
        bottleneck(shift + torch.randn(1, 4, 200 + 56 * rank))
    states.append(bottleneck.state_dict())
torch.save(states, f"{folder}/{rank}.pt")
distributed.barrier()
distributed.destroy_process_group()
"""


def test_two_ranks_hold_the_same_codebook(tmp_path: object) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-c", SCRIPT]
    children = [subprocess.Popen([*command, str(rank), port, str(tmp_path)]) for rank in range(2)]
    try:
        assert [child.wait(120) for child in children] == [0, 0]
    finally:
        for child in children:
            child.kill()
    first, second = (torch.load(f"{tmp_path}/{rank}.pt", weights_only=True) for rank in range(2))
    for one, other in zip(first, second, strict=True):
        for name, value in one.items():
            assert torch.equal(value, other[name]), name
    for state in first:
        codes = state["codebook.vectors"]
        near = [(codes - (20 + shift)).norm(dim=1) < 4 for shift in (0, 6)]
        assert min(int(some.sum()) for some in near) > 8  # codes were drawn from the data of both ranks
