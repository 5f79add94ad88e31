"""classifier: it learns from a frozen or a fine-tuned encoder, and does not change the model."""

from typing import Any

import numpy as np
import pytest
import torch
from environments import refused

from rl_vae import Encoder, FrameDataset, labels_of, train_classifier
from rl_vae.analysis.classifier import Classifier, Labels
from rl_vae.errors import ConfigError


@pytest.fixture(scope="module")
def brightness(dataset: FrameDataset) -> Labels:
    """Whether a frame is brighter than half of them."""
    mean = dataset.frames(np.arange(len(dataset))).mean(axis=(1, 2, 3))
    return Labels((mean > np.median(mean)).astype(np.int64), ("dark", "bright"))


@pytest.mark.parametrize("fine_tune", [False, True])
def test_it_learns(
    encoder: Encoder, dataset: FrameDataset, brightness: Labels, fine_tune: bool
) -> None:
    """The held-out accuracy is far above that of the most frequent class; a seed repeats it."""
    before = [weight.clone() for weight in encoder.vae.parameters()]
    first, again = (
        train_classifier(encoder, dataset, brightness, fine_tune=fine_tune, epochs=6)
        for _ in range(2)
    )
    assert first.accuracy > 0.8 > first.majority
    assert np.array_equal(first.confusion, again.confusion)
    held_out = dataset.split(0.2, 0).held_out
    assert first.confusion.sum() == len(held_out)
    prediction = first.classifier.predict(dataset.frames(held_out))
    truth = brightness.classes[held_out]
    assert first.accuracy == pytest.approx((prediction == truth).mean())
    assert first.confusion[1, 0] == ((truth == 1) & (prediction == 0)).sum()
    assert all(map(torch.equal, before, encoder.vae.parameters()))
    tuned = list(first.classifier.vae.encoder.parameters())
    moved = not all(map(torch.equal, tuned, encoder.vae.encoder.parameters()))
    assert moved == fine_tune


def test_a_classifier_reads_the_mean_code(encoder: Encoder, dataset: FrameDataset) -> None:
    """Frames and their mean codes have the same logits."""
    classifier, frames = Classifier(encoder, 3), dataset.frames(np.arange(5))
    with torch.no_grad():
        logits = classifier(torch.from_numpy(frames))
        codes = torch.from_numpy(encoder.encode(frames))
        torch.testing.assert_close(classifier.classify(codes), logits, atol=1e-3, rtol=1e-3)
    assert logits.shape == (5, 3)


def test_actions_are_classes(dataset: FrameDataset) -> None:
    """Whole-number actions are classes."""
    labels = labels_of(dataset, "action")
    actions = dataset.steps()["action"]
    assert [labels.names[k] for k in labels.classes] == [f"{action:g}" for action in actions]


def test_a_factor_of_few_values_is_classes(dataset: FrameDataset) -> None:
    """The values of a factor are classes if there are at most 20 of them."""
    labels = labels_of(dataset, "step")
    assert [float(labels.names[k]) for k in labels.classes] == dataset.factors["step"].tolist()


def test_a_factor_of_many_values_is_cut(
    dataset: FrameDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A factor with many values has five classes of equal size, named by their edges."""
    values = np.random.default_rng(0).permutation(len(dataset)).astype(float)
    monkeypatch.setattr(type(dataset), "factors", {"step": values})
    labels = labels_of(dataset, "step")
    assert len(labels.names) == 5 and labels.names[0].startswith("below")
    assert np.bincount(labels.classes).tolist() == [len(dataset) // 5] * 5
    assert values[labels.classes == 0].max() < values[labels.classes == 4].min()


def test_no_class_is_empty(dataset: FrameDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """If most frames have a factor's lowest value, they are one class, and no class is empty."""
    values = np.maximum(0.0, np.arange(len(dataset)) - 0.7 * len(dataset))
    monkeypatch.setattr(type(dataset), "factors", {"step": values})
    labels = labels_of(dataset, "step")
    assert len(labels.names) == 2 and labels.names[0].startswith("below")
    assert (np.bincount(labels.classes, minlength=2) > 0).all()
    monkeypatch.setattr(type(dataset), "factors", {"step": np.maximum(0.0, values - 70)})
    with refused(ConfigError, "'step'"):
        labels_of(dataset, "step")


def test_an_unknown_label_is_refused(dataset: FrameDataset) -> None:
    """A name that is neither the action nor a factor raises ConfigError."""
    with refused(ConfigError, "'colour'", "action"):
        labels_of(dataset, "colour")


@pytest.mark.parametrize("setting", [{"epochs": 0}, {"batch_size": True}, {"learning_rate": "x"}])
def test_settings_out_of_range_are_refused(
    encoder: Encoder, dataset: FrameDataset, brightness: Labels, setting: dict[str, Any]
) -> None:
    """A setting with a wrong type or out of range raises ConfigError."""
    with refused(ConfigError, *setting):
        train_classifier(encoder, dataset, brightness, **setting)
