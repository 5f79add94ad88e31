"""PixelOptions: where the pixels of an environment come from, as a user says it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from rl_vae.constraints import check_fields
from rl_vae.errors import ConfigError

Layout = Literal["hw", "hwc", "chw", "hwn", "nhw", "nhwc", "nchw", "hwcn", "hwnc"]


@dataclass(frozen=True, kw_only=True)
class PixelOptions:
    """Where the pixels of an environment come from. What is None is read from the space.

    Raises:
        ConfigError: if a value has another type or lies outside its range.
    """

    pixels: Literal["auto", "observation", "render"] = "auto"
    """Source of the pixels: the observation, or render(). "auto" takes the observation if any part
    of it looks like an image, otherwise render()."""
    image_key: str | None = None
    """Entry of a Dict or Tuple observation that is the image, such as camera, obs/camera or 0.
    Several cameras are separated by commas: left,right. An option that only some of them need, such
    as the value_range of a depth camera, is for these alone."""
    image_layout: Layout | None = None
    """Axes of an image: h height, w width, c channels, n images of a frame stack."""
    stack_frame: int | None = None
    """Image of a frame stack that is used, from 0, the first; -1 is the last."""
    value_range: tuple[float, float] | None = None
    """Raw values that become black and white; values outside are clipped."""
    cameras: Literal["side_by_side", "channels"] = "side_by_side"
    """Treatment of several cameras: side_by_side joins them to one wide image; channels makes each
    gray and a colour channel of one image."""
    small_images: Literal["pad", "upscale"] | None = None
    """Treatment of images smaller than 28 pixels: a black border, or each pixel repeated."""

    def __post_init__(self) -> None:
        if isinstance(self.value_range, list | tuple):
            numbers = (float(v) if type(v) is int else v for v in self.value_range)
            object.__setattr__(self, "value_range", tuple(numbers))
        check_fields(self)
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ConfigError(
                "PixelOptions.value_range is empty.",
                expected="two numbers, the lower one first",
                got=self.value_range,
                remedy="for example value_range=(0, 1)",
            )

    @property
    def is_default(self) -> bool:
        """Whether no option was given."""
        return self == PixelOptions()


PIXEL_OPTIONS = tuple(field.name for field in fields(PixelOptions))
"""Names of the options."""
SPACE_OPTIONS = ("image_layout", "stack_frame", "value_range", "small_images")
"""Options for what the space of an image leaves open. Of several cameras, those get one whose space
leaves it open; if none does, all get it."""
