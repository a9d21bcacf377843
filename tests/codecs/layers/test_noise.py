import torch

from narrows.codecs.layers.noise import NoiseBlock, normal_noise, seeds_of


def test_noise_is_normal_and_not_correlated():
    x = normal_noise(torch.arange(2000)[None], 64)[0].view(2000, 64)
    assert abs(x.mean()) < 0.01
    assert abs(x.std() - 1) < 0.01
    assert abs((x**4).mean() - 3) < 0.1
    assert x.abs().max() < 6
    flat = x.flatten()
    for lag in (1, 2, 63, 64, 65):
        assert abs((flat[lag:] * flat[:-lag]).mean()) < 0.01
    assert x.isfinite().all()


def test_noise_is_a_function_of_the_seeds():
    seeds = torch.tensor([[5, 7, 5], [7, 2**31 - 1, 0]])
    noise = normal_noise(seeds, 50).view(2, 3, 50)
    assert torch.equal(noise[0, 0], noise[0, 2])
    assert torch.equal(noise[0, 1], noise[1, 0])
    assert len({tuple(row.tolist()) for row in noise.flatten(0, 1)}) == 4
    assert torch.equal(normal_noise(seeds[:, 1:2], 50), noise[:, 1])


def test_seeds_are_signs():
    z = torch.randn(2, 40, 500)
    seeds = seeds_of(z)
    assert seeds.shape == (2, 500)
    assert 0 <= seeds.min() <= seeds.max() < 2**31
    assert len(set(seeds.flatten().tolist())) == 1000
    assert torch.equal(seeds_of(z * (1 + 1e-6)), seeds)


def test_blocks_differ_and_training_is_random():
    x, seeds = torch.randn(1, 4, 60), torch.tensor([[1, 2, 3]])
    first, second = NoiseBlock(4, 0).eval(), NoiseBlock(4, 1).eval()
    assert torch.equal(first.noise(x, seeds), first.noise(x, seeds))
    assert not torch.equal(first.noise(x, seeds), second.noise(x, seeds))
    assert not torch.equal(first.train().noise(x, seeds), first.noise(x, seeds))
