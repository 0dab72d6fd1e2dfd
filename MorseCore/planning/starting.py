"""A training that begins with a model's weights: what they need is taken from the model."""

import numpy as np

from MorseCore.config import encode
from MorseCore.errors import ConfigError, ModelError
from MorseCore.planning.measures import Fingerprint
from MorseCore.planning.rules import Candidate, Draft
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import ModelInfo, read_model

__all__ = ["start_from"]

_OWN = ("network.", "preparation.")  # what the draft decided of it gives way
_PLAIN = "plain"  # a head without points, of which a training with points reuses nothing


def start_from(draft: Draft, model: str, fingerprint: Fingerprint) -> list[Candidate]:
    """Take network, spacing and intensities from a model; the sizes to try, of which there is one.

    A model whose head renders nothing gives its backbone only: the points' head is the draft's.

    :param model: name or folder.
    :raises ConfigError: if there is no such model, or it is for images of another kind.
    """
    try:
        info = read_model(find_model(model))
    except ModelError as error:
        raise ConfigError(f"'initialise': {error}") from None
    preparation, network = info.preparation, encode(info.network)
    if preparation.spatial_dims != len(draft.axes):
        kinds = {2: "slices", 3: "volumes"}
        raise ConfigError(
            f"'{info.name}' is for {kinds[preparation.spatial_dims]}, and these data are learned "
            f"as {kinds[len(draft.axes)]}; start from another model, or from none."
        )
    channels = {k: why for k, why in draft.why.items() if k.startswith("preparation.channels.")}
    draft.why = {key: why for key, why in draft.why.items() if not key.startswith(_OWN)}
    if network["head"]["name"] == _PLAIN:
        network["head"] = draft.training["network"]["head"]
    count = len(fingerprint.channels) or 1
    is_as_many = network["in_channels"] == count
    draft.put("network", network | {"in_channels": count},
              f"As in '{info.name}', so that its weights fit.")  # fmt: skip
    if not is_as_many:
        draft.why["network.in_channels"] = (
            f"A case has {count} image(s) and '{info.name}' sees {network['in_channels']}: the "
            "first convolution is not reused, and intensities are this plan's."
        )
    spacing = preparation.spacing
    draft.put(
        "preparation.spacing", None if spacing is None else draft.named(spacing),
        f"As in '{info.name}', whose weights know voxels of this size.",
    )  # fmt: skip
    if count == 1 and is_as_many:
        for key in ("normalisation", "percentiles", "intensity_range"):
            draft.put(f"preparation.{key}", encode(preparation)[key])
    elif tuple(fingerprint.channels) == info.channels:
        named = zip(info.channels, encode(preparation)["channels"], strict=True)
        draft.put("preparation.channels", dict(named), f"As in '{info.name}'.")
    else:
        draft.why |= channels
    draft.put("preparation.window", draft.named(_window(info, fingerprint)), (
        f"That of '{info.name}', no larger than the median image."
    ))  # fmt: skip
    draft.put("initialise", model, (
        f"The training starts from the weights of '{info.name}' that fit; its log names the others."
    ))  # fmt: skip
    return [Candidate(f"that of '{info.name}'", {})]


def _window(info: ModelInfo, fingerprint: Fingerprint) -> list[int]:
    """The model's window along x, y[, z]; a side is shorter where the images are."""
    divisor = info.network.build(num_classes=info.num_classes).divisor
    spacings, sizes = (np.median(x, axis=0) for x in (fingerprint.spacings(), fingerprint.sizes()))
    sides = []
    for n, most in enumerate(info.preparation.window):
        mm = spacings[n] if info.preparation.spacing is None else info.preparation.spacing[n]
        needed = int(np.ceil(sizes[n] * spacings[n] / mm))
        sides.append(min(most, -(-needed // divisor) * divisor))
    return sides
