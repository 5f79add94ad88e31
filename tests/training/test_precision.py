"""Arithmetic: the fast form computes the same function, in float32 where it matters."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from conftest import CONFIG
from environments import refused
from torch import nn

from rl_vae import FrameDataset, TrainConfig, VAEConfig, train_vae
from rl_vae.errors import ConfigError
from rl_vae.models.description import read_config
from rl_vae.models.networks import NETWORKS
from rl_vae.models.upsampling import Form, Upsampling
from rl_vae.models.vae import VAE
from rl_vae.training import precision as precision
from rl_vae.training import step as updates
from rl_vae.training.precision import Compute, Precision, choose_precision

pytestmark = pytest.mark.usefixtures("quick_export")


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 0), (2, 1), (4, 2), (3, 1)])
def test_every_form_is_the_same_function(stride: int, padding: int) -> None:
    """A transposed convolution and its gradients are the same in each of its forms."""
    torch.manual_seed(0)
    layer = Upsampling(5, 3, 2 * stride, stride, padding).double()
    x = torch.randn(2, 5, 4, 6, dtype=torch.float64, requires_grad=True)
    results = []
    for layer.form in get_args(Form):
        out = layer(x)
        loss = (out * torch.arange(out.numel()).reshape(out.shape).cos()).sum()
        results.append([out, *torch.autograd.grad(loss, [x, *layer.parameters()])])
    assert len(results) == 3
    for plain, *others in zip(*results, strict=True):
        for other in others:
            torch.testing.assert_close(other, plain)


@pytest.mark.parametrize("bfloat16", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_which_form_a_layer_has(name: str, bfloat16: bool) -> None:
    """Layers are mirrored in bfloat16; the last is folded, where its kernel is two strides wide."""
    vae = VAE(VAEConfig(latent_dim=4, network=name), (32, 32, 3))
    Precision(bfloat16, reshaped=True).prepare(vae)
    forms = [layer.form for layer in vae.modules() if isinstance(layer, Upsampling)]
    common: Form = "mirrored" if bfloat16 else "plain"
    last: Form = "folded" if name in ("patch", "narrow", "small", "burgess") else common
    assert forms == ([common] * (len(forms) - 1) + [last] if name not in ("mlp", "linear") else [])


@pytest.mark.parametrize(
    ("has", "bfloat16"),
    [({}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True, "avx512_bf16": False}, True)],
)
def test_bfloat16_is_for_processors_that_have_it(
    has: dict[str, bool], bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """compute="fast" takes bfloat16 if the processor multiplies it; "reference" never does."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert choose_precision("fast") == Precision(bfloat16, reshaped=True)
    assert choose_precision("reference") == Precision(bfloat16=False, reshaped=False)


def test_what_is_no_engine_is_refused() -> None:
    """compute is one of the two words."""
    wrong: Any = "eager"
    with refused(ConfigError, "'fast' or 'reference'", "'eager'"):
        TrainConfig(compute=wrong)


@pytest.mark.parametrize("compute", ["fast", "reference"])
def test_networks_compute_in_bfloat16_and_losses_in_float32(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compute: Any
) -> None:
    """Layers give the type of the precision; code, KL, distortion and weights are float32."""
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: True)
    layers: set[torch.dtype] = set()
    losses: set[torch.dtype] = set()
    right = updates.run_pass

    def watched(vae: Any, *rest: Any, **more: Any) -> Any:
        hooks = [
            layer.register_forward_hook(lambda module, before, out: layers.add(out.dtype))
            for layer in vae.modules()
            if isinstance(layer, nn.Conv2d | nn.Linear)
        ]
        output = right(vae, *rest, **more)
        out = output.loss_inputs
        for hook in hooks:
            hook.remove()
        losses.update(value.dtype for value in (out.distortion, out.kl, out.mu, out.logvar, out.z))
        losses.update(weight.dtype for weight in vae.parameters())
        return output

    monkeypatch.setattr(updates, "run_pass", watched)
    config = TrainConfig(steps=2, batch_size=8, compute=compute)
    model = train_vae(dataset, tmp_path / "model", CONFIG, config, progress=False)
    fast = compute == "fast"
    assert layers == {torch.bfloat16 if fast else torch.float32}
    assert losses == {torch.float32}
    recorded = read_config(model.path)["provenance"]["precision"]
    assert recorded == {"bfloat16": fast, "reshaped": fast, "compiled": False}


@pytest.mark.slow
def test_the_fast_engine_learns_what_the_reference_learns(
    dataset: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After equal steps the ELBOs of both computes differ by less than 10 % of what was gained.

    Rounding differs between processors, and a short training amplifies it.
    """
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: True)

    def elbo(compute: Compute, steps: int) -> float:
        config = TrainConfig(steps=steps, batch_size=16, compute=compute)
        out = tmp_path / f"{compute}{steps}"
        held_out = train_vae(dataset, out, CONFIG, config, progress=False).held_out
        assert held_out.elbo is not None
        return held_out.elbo

    fast, reference, start = elbo("fast", 30), elbo("reference", 30), elbo("reference", 1)
    assert fast != reference
    assert abs(fast - reference) < 0.1 * (reference - start)
