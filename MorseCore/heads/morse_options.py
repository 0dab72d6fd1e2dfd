"""What the options of MORSE's rows have in common: presets, checks, and what is no longer there."""

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from typing import Any, Literal, TypeVar

from MorseCore.backbones.pyramid import PyramidSpec
from MorseCore.errors import ConfigError
from MorseCore.heads.head import HeadConfig

__all__ = [
    "Preset",
    "check_options",
    "choose_residual",
    "fill_sizes",
    "read_former",
]

Preset = Literal["paper", "wide", "default", "custom"]
Rows = TypeVar("Rows", bound=HeadConfig)

_SIZES = ("width", "gate_stride", "render_width")  # what a preset stands for
_PRESETS: dict[tuple[Preset, int], tuple[int, int, int]] = {  # by preset and dimensions
    ("paper", 2): (256, 1, 256),
    ("paper", 3): (256, 1, 256),
    ("wide", 2): (256, 4, 256),
    ("wide", 3): (64, 4, 256),
    ("default", 2): (64, 8, 128),
    ("default", 3): (32, 4, 128),
    ("custom", 2): (0, 0, 0),
    ("custom", 3): (0, 0, 0),
}
_LEAST = {
    "experts": 0, "width": 0, "gate_depth": 1, "gate_stride": 0, "frequencies": 1,
    "render_width": 0, "image_channels": 1,
}  # fmt: skip
_SHARES = ("dropout", "drop_rate")


def check_options(config: HeadConfig) -> None:
    """Refuse values without sense, of those of MORSE's options that the head has.

    :raises ConfigError: with the option's name and value.
    """
    values = _values(config)
    for name in _SHARES:
        if name in values and not 0 <= values[name] < 1:
            raise ConfigError(f"'{name}' must lie in [0, 1); found {values[name]}.")
    for name, least in _LEAST.items():
        if name in values and values[name] < least:
            wanted = "be positive" if least else "not be negative"
            raise ConfigError(f"'{name}' must {wanted}; found {values[name]}.")
    if "sigma" in values and values["sigma"] <= 0:
        raise ConfigError("'sigma' must be positive.")
    if values.get("image", "none") != "none" and values.get("routing") == "released":
        raise ConfigError(
            "The 'routing' released has no expert that reads the image; take renorm or dense."
        )


def choose_residual(preset: Preset, residual: bool | None) -> bool:
    """Whether the rendering head adds to the coarse logits; null is the preset's.

    :raises ConfigError: if the paper's preset shall have a residual head.
    """
    if residual and preset == "paper":
        raise ConfigError(
            "The preset 'paper' has 'residual' false; for a residual rendering head of the "
            "paper's sizes take the preset 'custom' and give them."
        )
    return preset != "paper" if residual is None else residual


def fill_sizes(config: Rows, spec: PyramidSpec) -> Rows:
    """The options of a row with every size that is 0 replaced by the preset's value.

    :raises ConfigError: if more experts are asked for than the pyramid has maps, or if the preset
        is ``custom`` and a size is missing.
    """
    values = _values(config)
    of_preset = dict(zip(_SIZES, _PRESETS[values["preset"], spec.spatial_dims], strict=True))
    sizes = {name: values[name] or of_preset[name] for name in _SIZES if name in values}
    if not all(sizes.values()):
        *names, last = (f"'{name}'" for name in sizes)
        listed = f"{', '.join(names)} and {last}" if names else last
        raise ConfigError(f"The preset 'custom' needs {listed}.")
    sizes["experts"] = values["experts"] or len(spec.channels)
    if sizes["experts"] > len(spec.channels):
        raise ConfigError(
            f"'experts' is {sizes['experts']}, but the backbone has {len(spec.channels)} maps."
        )
    return replace(config, **sizes)


def read_former(options: Mapping[str, Any], known: Collection[str]) -> Mapping[str, Any]:
    """Options as an older release wrote them, in today's words.

    The preset ``cpu`` was ``default`` with the gate at stride 4 in 2D, too. Where all sizes are
    given, as in a model folder, it said nothing more, and is read as ``custom``.

    :param known: the options that the head has.
    :raises ConfigError: if they name what went and stands for something; says what to write.
    """
    if options.get("routing") == "inverted" and "routing" in known:
        raise ConfigError(
            "The routing 'inverted' is gone; take 'renorm', with which a trained model answers the "
            "same."
        )
    if options.get("preset") != "cpu" or "preset" not in known:
        return options
    if all(options.get(name) for name in _SIZES if name in known):
        return {**options, "preset": "custom"}
    stride = ' and "gate_stride": 4' if "gate_stride" in known else ""
    raise ConfigError(f'The preset \'cpu\' is gone; take "preset": "default"{stride}.')


def _values(config: HeadConfig) -> dict[str, Any]:
    return {item.name: getattr(config, item.name) for item in fields(config)}
