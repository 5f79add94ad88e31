"""LatentPipeline and ObservationFields: the layout of an observation."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import Moment, frame_of
from toys import MIXED, Mixed, extras_of

from rl_vae import Encoder, FrameSpec
from rl_vae.errors import EnvironmentFault
from rl_vae.wrappers.codes import MIN_STD
from rl_vae.wrappers.config import ObservationConfig
from rl_vae.wrappers.pipeline import LatentPipeline


def pipeline(encoder: Encoder, n_envs: int = 1, **options: Any) -> LatentPipeline:
    env = gym.make(MIXED)
    config = ObservationConfig(**options)
    return LatentPipeline(encoder, env.observation_space, env.action_space, n_envs, config)


def raw(moment: Moment) -> dict[str, Any]:
    env = Mixed()
    env.moment = moment._replace(step=moment.step - 1)
    return env.step(0)[0]


def test_fields_name_the_parts_of_an_observation(encoder: Encoder) -> None:
    """The slices of codes, past actions and extras are disjoint and cover the vector."""
    ours = pipeline(encoder, stack=3, actions=2, code="mu_logvar")
    fields = ours.fields
    assert (fields.stack, fields.code_width, fields.actions, fields.action_width) == (3, 8, 2, 4)
    assert fields.extras == {"gear": 3, "lamps": 2, "speed": 2}
    slices = [fields.latents, fields.past_actions, *fields.extra_slices.values()]
    assert [(part.start, part.stop) for part in slices] == [
        (0, 24),
        (24, 32),
        (32, 35),
        (35, 37),
        (37, 39),
    ]
    assert ours.observation_space.shape == (fields.width,) == (39,)


def test_slices_hold_what_they_name(encoder: Encoder) -> None:
    """The parts of an observation are the codes, the last actions and the extras of the step."""
    ours = pipeline(encoder, stack=2, actions=1)
    first, second = Moment(1, 0, 1), Moment(1, 0, 2)
    ours.reset([raw(first)], [1])
    (observation,) = ours.step([raw(second)], np.array([1])).now
    images = np.stack([frame_of(first), frame_of(second)])
    codes = encoder.encode_observations(images).reshape(-1)
    fields = ours.fields
    np.testing.assert_allclose(observation[fields.latents], codes, rtol=0, atol=1e-6)
    assert observation[fields.past_actions].tolist() == [0, 1, 0, 0]
    extras = np.concatenate([observation[part] for part in fields.extra_slices.values()])
    assert extras.tolist() == extras_of(second)


@pytest.mark.parametrize("extras", ["dict", "drop"])
def test_extras_outside_the_vector_have_no_slice(encoder: Encoder, extras: Any) -> None:
    """With "dict" and "drop" the vector holds codes and past actions only."""
    fields = pipeline(encoder, extras=extras, actions=1).fields
    assert fields.extra_slices == {} and fields.width == 8


def test_fields_hold_the_standardisation(encoder: Encoder) -> None:
    """A code is (raw code - code_mean) / code_std; log-variances do not change."""
    plain, scaled = (
        pipeline(encoder, code="mu_logvar", standardise=standardise, extras="drop")
        for standardise in (False, True)
    )
    assert np.array_equal(plain.fields.code_mean, np.zeros(8))
    assert np.array_equal(plain.fields.code_std, np.ones(8))
    observations = [each.reset([raw(Moment(3, 0, 1))], [3]).now[0] for each in (plain, scaled)]
    fields = scaled.fields
    assert fields.code_std[:4].min() >= np.float32(MIN_STD)
    assert np.array_equal(observations[1], (observations[0] - fields.code_mean) / fields.code_std)
    assert np.array_equal(observations[1][4:], observations[0][4:])


def test_a_batch_and_a_list_are_the_same(encoder: Encoder) -> None:
    """Raw observations come as a Dict of arrays or as a list of single observations."""
    moments = [Moment(1, 0, 1), Moment(2, 0, 2)]
    singles = [raw(moment) for moment in moments]
    batch = {key: np.stack([single[key] for single in singles]) for key in singles[0]}
    one, other = (
        pipeline(encoder, 2, stack=2).reset(each, [1, 2]).now for each in (batch, singles)
    )
    assert np.array_equal(one, other)


def test_frames_that_are_applied_are_not_changed(encoder: Encoder) -> None:
    """With `applied` the images of a Dict are frames, and give the same codes."""
    config, env = ObservationConfig(stack=2), Mixed()
    image = gym.spaces.Box(0, 255, encoder.spec.shape, np.uint8)
    space = gym.spaces.Dict({**env.observation_space.spaces, "camera_0": image})
    applied = LatentPipeline(encoder, space, env.action_space, 1, config, applied=encoder.spec)
    single = raw(Moment(1, 0, 1))
    frame = {**single, "camera_0": encoder.spec.apply(single["camera_0"])}
    expected = pipeline(encoder, stack=2).reset([single], [1])
    observed = applied.reset([frame], [1])
    assert np.array_equal(observed.now, expected.now)
    assert np.array_equal(observed.frames, expected.frames)
    assert isinstance(encoder.spec, FrameSpec)


def test_a_partial_reset_needs_all_extras(encoder: Encoder) -> None:
    """Extras of some environments only are an EnvironmentFault."""
    ours = pipeline(encoder, 2)
    singles = [raw(Moment(1, 0, 1))]
    with pytest.raises(EnvironmentFault, match="all 2 environments"):
        ours.reset(singles, [1, None], np.array([True, False]))
