import pytest
import torch

from narrows.recipes.losses import FeatureMatchingDistillation, KnowledgeDistillation


def test_feature_matching_sums_squares_over_layers_and_averages_over_the_batch() -> None:
    first, second = torch.zeros(2, 3, 2, 2), torch.zeros(2, 1, 1, 1)
    loss = FeatureMatchingDistillation()([first + 1, second + 2], [first, second])
    assert float(loss) == pytest.approx(12 + 4)


def test_distillation_is_cross_entropy_and_divergence() -> None:
    logits, target = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [3.0, 0.0]])
    labels = torch.tensor([0, 1])
    p, q = target.softmax(1), logits.softmax(1)
    divergence = (p * (p / q).log()).sum(1).mean()
    cross_entropy = -q[[0, 1], labels].log().mean()
    assert torch.isclose(KnowledgeDistillation()(logits, labels, target), (divergence + cross_entropy) / 2)
    assert torch.isclose(KnowledgeDistillation(0.0)(logits, labels, target), divergence)
    hot = KnowledgeDistillation(0.0, 2.0)(logits, labels, target)
    assert torch.isclose(hot, 4 * KnowledgeDistillation(0.0)(logits / 2, labels, target / 2))
    assert float(KnowledgeDistillation(0.0)(target, labels, target)) == pytest.approx(0, abs=1e-6)
