"""DSC on images that are generated once: quick, always the same, of every structure."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from MorseCore.errors import Cancelled
from MorseCore.network import Network
from MorseCore.renderers import Renderer
from MorseCore.system.devices import Precision, autocast
from MorseCore.system.seeds import generator_for
from MorseCore.training.distributed import World
from MorseCore.training.generated.images import Generated, ImageGenerator
from MorseCore.training.generated.label_maps import LabelMap
from MorseCore.training.validation import Figures, SeenCase, WorstCase

__all__ = ["GeneratedValidation"]

_STAGES = ("coarse", "refined")


class GeneratedValidation:
    """A network's DSC on fixed generated images of the model's own window.

    The whole image is one window and no distance is measured: this takes seconds. What a person
    needs to know of a model is measured with ``evaluate``.
    """

    def __init__(
        self,
        maps: Sequence[LabelMap],
        draw: ImageGenerator,
        *,
        count: int,
        seed: int,
        renderer: Renderer,
        precision: Precision,
    ) -> None:
        """:param count: images, of one map after the other."""
        self._names, self._renderer, self._precision = draw.table.names, renderer, precision
        self._spacing = draw.spacing
        self._images: list[Generated] = [
            draw(maps[n % len(maps)], generator_for(seed, "validation", n)) for n in range(count)
        ]
        self._titles = [f"generated image {n + 1} of {maps[n % len(maps)].name}"
                        for n in range(count)]  # fmt: skip

    def measure(
        self,
        network: Network,
        *,
        world: World,
        should_stop: Callable[[], bool] | None = None,
    ) -> Figures:
        """DSC of the answer at each pixel's centre against the label there.

        A structure is averaged over the images that show it.
        """
        classes = len(self._names)
        overlaps = torch.zeros(len(self._images), len(_STAGES), 3, classes, dtype=torch.float64)
        network.eval()
        stopped, worst = False, WorstCase()
        for n in world.share_of(range(len(self._images))):
            if should_stop is not None and should_stop():
                stopped = True
                break
            overlaps[n], found = self._overlaps(network, self._images[n], world.device)
            worst.see(self._seen(n, found, overlaps[n]))
        if world.any(stopped):
            raise Cancelled("The validation was cancelled.")
        overlaps = world.total(overlaps)
        lowest = min(range(len(self._images)), key=lambda n: _dice(overlaps[n]))
        return replace(self._figures(overlaps), worst=worst.if_called(self._titles[lowest]))

    def _figures(self, overlaps: Tensor) -> Figures:
        """Of (images, stages, 3, C) numbers of pixels."""
        means, missed, structures = {}, {}, {}
        for n, stage in enumerate(_STAGES):
            both, found, drawn = overlaps[:, n, :, 1:].unbind(1)  # (images, C - 1) each
            shown = drawn > 0
            dice = 2 * both / (found + drawn).clamp_min(1)
            missed[stage] = int((shown & (found == 0)).sum())
            structures = {
                self._names[c + 1]: round(float(dice[shown[:, c], c].mean()), 4)
                for c in range(shown.shape[1])
                if bool(shown[:, c].any())
            }
            means[stage] = {"dice": sum(structures.values()) / max(1, len(structures))}
        return Figures(means, missed, structures)

    def _seen(self, number: int, found: Tensor, overlaps: Tensor) -> SeenCase:
        made = self._images[number]
        image, labels = made.image.cpu().numpy(), made.labels.cpu().numpy()
        mask = found.view(labels.shape).to(torch.uint8).numpy()
        return SeenCase(self._titles[number], image, labels, mask, self._spacing, _dice(overlaps))

    @torch.inference_mode()
    def _overlaps(
        self, network: Network, made: Generated, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """(stages, 3, C) pixels in both, in the answer, in the labels; and the last answer (N)."""
        with autocast(device, self._precision):
            field = network(made.image[None, None].to(device))
            if network.head.answers_twice:
                result = self._renderer.render(field)
                maps = [result.coarse, result.refined]
            else:
                maps = [field.coarse_grid(field.pixels())] * 2
        labels = made.labels.flatten().long().cpu()
        answers = [logits[0].argmax(0).flatten().cpu() for logits in maps]
        return torch.stack([self._overlap(answer, labels) for answer in answers]), answers[-1]

    def _overlap(self, answer: Tensor, labels: Tensor) -> Tensor:
        """(3, C) of answer and labels (N)."""
        classes = len(self._names)
        table = torch.bincount(labels * classes + answer, minlength=classes**2)
        table = table.view(classes, classes).double()
        return torch.stack([table.diagonal(), table.sum(0), table.sum(1)])


def _dice(overlaps: Tensor) -> float:
    """Mean DSC of the last stage over the structures that an image shows: (stages, 3, C)."""
    both, found, drawn = overlaps[-1, :, 1:]
    dice = (2 * both / (found + drawn).clamp_min(1))[drawn > 0]
    return float(dice.mean()) if len(dice) else 1.0
