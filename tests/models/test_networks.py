"""The networks: sizes for any frame, and the published geometry of those that are published."""

import pytest
import torch
from torch import nn

from rl_vae.models.config import VAEConfig
from rl_vae.models.convolutional import ConvDecoder, ConvEncoder
from rl_vae.models.find_network import find_network
from rl_vae.models.networks import NETWORKS
from rl_vae.models.vae import VAE
from rl_vae.models.weights import built_in_weights, weight_types_of

SIZES = [(28, 28), (32, 32), (33, 47), (64, 64), (84, 84), (96, 96), (210, 160)]
LATENTS = 5


def maps(network: nn.Module, x: torch.Tensor) -> list[tuple[int, ...]]:
    """Shapes (C, h, w) of what each convolution gives, in order."""
    shapes: list[tuple[int, ...]] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(lambda *a: shapes.append(tuple(a[2].shape[1:])))
    network(x)
    return shapes


def linears(network: nn.Module) -> list[tuple[int, int]]:
    """Widths (before, after) of the linear layers, in order."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return [(layer.in_features, layer.out_features) for layer in layers]


def parameters(*networks: nn.Module) -> int:
    return sum(p.numel() for network in networks for p in network.parameters())


def pair(name: str, shape: tuple[int, int, int], latents: int) -> tuple[ConvEncoder, ConvDecoder]:
    network = find_network(name)
    encoder = network.build_encoder(shape, latents)
    decoder = network.build_decoder(shape, latents)
    assert isinstance(encoder, ConvEncoder) and isinstance(decoder, ConvDecoder)
    return encoder, decoder


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_any_size_goes_in_and_comes_out(name: str, channels: int, size: tuple[int, int]) -> None:
    """Frames (B, C, H, W) give (B, 2 Z), and codes (B, Z) give frames of exactly that size."""
    encoder, decoder = pair(name, (*size, channels), LATENTS)
    with torch.no_grad():
        assert encoder(torch.rand(2, channels, *size)).shape == (2, 2 * LATENTS)
        assert decoder(torch.randn(2, LATENTS)).shape == (2, channels, *size)


def test_the_mlp_is_784_400_20() -> None:
    """On 28 x 28 grayscale frames and 20 latents the MLP is 784-400-20 (twice) -400-784."""
    encoder, decoder = pair("mlp", (28, 28, 1), 20)
    assert linears(encoder) == [(784, 400), (400, 40)]
    assert linears(decoder) == [(20, 400), (400, 784)]
    with torch.no_grad():
        assert decoder(encoder(torch.rand(3, 1, 28, 28))[:, :20]).shape == (3, 1, 28, 28)
        assert float(decoder(torch.randn(9, 20)).min()) < 0  # logits: no ReLU at the end


def test_world_models_network_is_the_published_one() -> None:
    """At 64 x 64 World Models' VAE has 4,348,547 parameters (appendix A.1) and its feature maps."""
    encoder, decoder = pair("world_models", (64, 64, 3), 32)
    assert parameters(encoder, decoder) == 4_348_547
    assert maps(encoder, torch.zeros(1, 3, 64, 64)) == [
        (32, 31, 31),
        (64, 14, 14),
        (128, 6, 6),
        (256, 2, 2),
    ]
    assert linears(encoder) == [(1024, 64)]
    assert linears(decoder) == [(32, 1024)]
    assert maps(decoder, torch.zeros(1, 32)) == [
        (128, 5, 5),
        (64, 13, 13),
        (32, 30, 30),
        (3, 64, 64),
    ]


def test_burgess_network_is_the_published_one() -> None:
    """At 64 x 64 x 1 with 10 latents: four times 32 maps, twice 256 units, and back again."""
    encoder, decoder = pair("burgess", (64, 64, 1), 10)
    down = [(32, 32, 32), (32, 16, 16), (32, 8, 8), (32, 4, 4)]
    assert maps(encoder, torch.zeros(1, 1, 64, 64)) == down
    assert linears(encoder) == [(512, 256), (256, 256), (256, 20)]
    assert linears(decoder) == [(10, 256), (256, 256), (256, 512)]
    assert maps(decoder, torch.zeros(1, 10)) == [*down[-2::-1], (1, 64, 64)]
    convolution, linear = 32 * 32 * 16 + 32, 256 * 256 + 256
    by_hand = (1 * 32 * 16 + 32) + 3 * convolution + (512 * 256 + 256) + linear + (256 * 20 + 20)
    by_hand += (10 * 256 + 256) + linear + (256 * 512 + 512) + 3 * convolution + (32 * 16 + 1)
    assert parameters(encoder, decoder) == by_hand


def test_patch_network_looks_at_patches_of_eight() -> None:
    """Our first layer sees 8 x 8 pixels and leaves a sixteenth of the positions to the rest."""
    encoder, decoder = pair("patch", (64, 64, 3), 32)
    down = [(32, 16, 16), (64, 8, 8), (128, 4, 4)]
    assert maps(encoder, torch.zeros(1, 3, 64, 64)) == down
    assert maps(decoder, torch.zeros(1, 32)) == [*down[-2::-1], (3, 64, 64)]


def test_narrow_network_is_half_as_wide() -> None:
    """Its maps have the sizes of "patch", and half as many channels; it is centred, too."""
    encoder, decoder = pair("narrow", (80, 64, 1), 32)
    down = [(16, 20, 16), (32, 10, 8), (64, 5, 4)]
    assert maps(encoder, torch.zeros(1, 1, 80, 64)) == down
    assert linears(encoder) == [(1280, 128), (128, 64)]
    assert maps(decoder, torch.zeros(1, 32)) == [*down[-2::-1], (1, 80, 64)]
    assert NETWORKS["narrow"].centred == NETWORKS["patch"].centred


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_what_a_decoder_draws_too_much_is_cut_off_evenly(name: str, size: tuple[int, int]) -> None:
    """A decoder shows the middle of its maps, and starts from no larger a grid than it must."""
    _, decoder = pair(name, (*size, 1), LATENTS)
    drawn: list[torch.Tensor] = []
    decoder.maps.register_forward_hook(lambda *arguments: drawn.append(arguments[2]))
    with torch.no_grad():
        shown = decoder(torch.randn(1, LATENTS))
    for axis, side in ((2, size[0]), (3, size[1])):
        surplus = drawn[0].shape[axis] - side
        assert 0 <= surplus < (16 if decoder.grid[axis - 2] > 1 else 64)
        drawn[0] = drawn[0].narrow(axis, surplus // 2, side)
    assert torch.equal(shown, drawn[0])


@pytest.mark.parametrize("name", ["patch", "burgess"])
@pytest.mark.parametrize("size", [(32, 32), (64, 64), (84, 84), (96, 96), (210, 160)], ids=str)
def test_every_pixel_is_seen(name: str, size: tuple[int, int]) -> None:
    """No pixel of a frame is left out of the code."""
    encoder, _ = pair(name, (*size, 1), LATENTS)
    for parameter in encoder.parameters():
        nn.init.constant_(parameter, 0.01)  # all positive: no path is cut by a ReLU
    x = torch.ones(1, 1, *size, requires_grad=True)
    encoder(x).sum().backward()
    assert x.grad is not None
    assert (x.grad > 0).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_both_ends_are_unbounded(name: str) -> None:
    """Codes and logits may be negative: no ReLU stands at an end."""
    torch.manual_seed(0)
    encoder, decoder = pair(name, (32, 32, 3), 16)
    with torch.no_grad():
        for out in (encoder(torch.rand(8, 3, 32, 32)), decoder(torch.randn(8, 16))):
            assert (out < 0).any()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_weights_are_known_without_torch(name: str, size: tuple[int, int]) -> None:
    """Names, types and shapes that are computed without torch are those of the torch modules."""
    for channels, likelihood in ((1, "gaussian"), (3, "learned_gaussian")):
        config = VAEConfig(LATENTS, name, likelihood)  # type: ignore[arg-type]
        with torch.device("meta"):
            weights = VAE(config, (*size, channels)).state_dict()
        assert built_in_weights(config, (*size, channels)) == weight_types_of(weights)
