"""SwIPE's field: which patch a point lies in, and what the decoders say there."""

import torch
from torch import Tensor

from MorseCore.field import Field
from MorseCore.heads.parts.fourier import sinusoids
from MorseCore.heads.swipe.decoder import OccupancyDecoder
from MorseCore.heads.swipe.neck import Embeddings
from MorseCore.heads.swipe.patches import gather_rows, local_coords, neighbourhood, patch_at
from MorseCore.points import to_rows

__all__ = ["SwipeField"]


class SwipeField(Field):
    """Global first, local refined: coarse answers are D^I's, final ones D^P's.

    Without an image decoder both are D^P's. ``K`` neighbours of a patch, ``d`` embedding width.

    :param patch_decoder: D^P.
    :param image_decoder: D^I, None for none.
    :param to_source: (B, D, D + 1), see :class:`Pyramid`; None is the identity.
    :param neighbours: con, how many patches count as neighbours.
    :param frequencies: an axis of p^P, given to D^P beside it.
    :param image_in_patch: give z^I and p^I to D^P.
    :param source_coordinate: give p^S to D^P.
    :param blend: average the logits of a point over its patch and the neighbours.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        patch_decoder: OccupancyDecoder,
        image_decoder: OccupancyDecoder | None,
        *,
        size: tuple[int, ...],
        to_source: Tensor | None,
        neighbours: int,
        frequencies: int,
        image_in_patch: bool,
        source_coordinate: bool,
        blend: bool,
    ) -> None:
        self.size, self.batch = size, embeddings.image.shape[0]
        self.grid = tuple(embeddings.patches.shape[2:])
        self.patches, self.image = to_rows(embeddings.patches), embeddings.image
        self.near = neighbourhood(self.grid, neighbours, device=self.device)
        self._patch_decoder, self._image_decoder = patch_decoder, image_decoder
        self._to_source, self._blend, self._frequencies = to_source, blend, frequencies
        self._image_in_patch, self._source_coordinate = image_in_patch, source_coordinate
        self._for_patch = patch_decoder.project(self._patch_codes())
        self._for_image = (
            None if image_decoder is None else image_decoder.project(self.image[:, None])
        )

    @property
    def device(self) -> torch.device:
        return self.patches.device

    def patch_at(self, coords: Tensor) -> Tensor:
        """The patch (B, P) that contains each coordinate (B, P, D)."""
        return patch_at(coords, self.grid)

    def coarse(self, coords: Tensor) -> Tensor:
        decoder = self._image_decoder
        if decoder is None or self._for_image is None:
            return self.logits(coords)
        answer: Tensor = decoder(coords, self._for_image)
        return answer

    def logits(self, coords: Tensor) -> Tensor:
        if not self._blend:
            return self.logits_from(coords, self.patch_at(coords))
        answers, there = self._neighbour_logits(coords)
        return (answers * there[..., None]).sum(2) / there.sum(2)[..., None]

    def logits_from(self, coords: Tensor, patch: Tensor) -> Tensor:
        """D^P's answer from the embedding of any patch, and relative to *its* centre (SPO).

        :param coords: (B, P, D).
        :param patch: (B, P).
        :return: (B, P, C).
        """
        local = local_coords(coords, patch, self.grid)
        parts = [local]
        if self._frequencies:
            parts.append(sinusoids(local, self._frequencies))
        if self._image_in_patch:
            parts.append(coords)
        if self._source_coordinate:
            parts.append(self.source_coords(coords))
        answer: Tensor = self._patch_decoder(torch.cat(parts, -1), self._for_patch, patch)
        return answer

    def source_coords(self, coords: Tensor) -> Tensor:
        """p^S: coordinates in the image that this one, a crop or a window, was cut from."""
        if self._to_source is None:
            return coords
        matrix = self._to_source.to(coords)[:, None]  # (B, 1, D, D + 1)
        # Sums of products, not matmul, which autocast would round to 8 bits.
        return (coords[..., None, :] * matrix[..., :-1]).sum(-1) + matrix[..., -1]

    def variance(self, coords: Tensor) -> Tensor:
        """Disagreement of a patch with its neighbours: (B, P, D) -> (B, P), 0 where they agree.

        Variance of the class probabilities over the patch and the neighbours inside the grid,
        summed over the classes (SwIPE's repository offers it as uncertainty).
        """
        answers, there = self._neighbour_logits(coords)
        weight = there[..., None] / there.sum(2)[..., None, None]
        probabilities = answers.float().softmax(-1)
        mean = (probabilities * weight).sum(2, keepdim=True)
        return ((probabilities - mean) ** 2 * weight).sum((2, 3))

    def uncertainty(self, coords: Tensor) -> Tensor:
        """:meth:`variance`."""
        return self.variance(coords)

    def squared_norms(self, patch: Tensor) -> Tensor:
        """|z^P|^2 + |z^I|^2, the mean over points and images: (B, P) -> scalar.

        A sum over the embedding's components, as the paper writes it.
        """
        patches = gather_rows(self.patches.float().square().sum(-1, keepdim=True), patch)
        return patches.mean() + self.image.float().square().sum(-1).mean()

    def memory(self) -> int:
        projected = [*self._for_patch, *(self._for_image or [])]
        return sum(x.nbytes for x in (self.patches, self.image, *projected))

    def _patch_codes(self) -> Tensor:
        """(B, N, c): z^P and, with ``image_in_patch``, z^I."""
        if not self._image_in_patch:
            return self.patches
        image = self.image[:, None].expand(-1, self.patches.shape[1], -1)
        return torch.cat([self.patches, image], dim=-1)

    def _neighbour_logits(self, coords: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, P, 1 + K, C) from the patch and its neighbours, and which are there.

        One neighbour after the other, so that memory does not grow with their number.
        """
        patches, there = self.near.of(self.patch_at(coords))
        answers = [self.logits_from(coords, patch) for patch in patches.unbind(-1)]
        return torch.stack(answers, dim=2), there
