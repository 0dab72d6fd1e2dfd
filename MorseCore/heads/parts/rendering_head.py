"""The rendering head: a point MLP on position, feature and coarse logits (MORSE §2, IAR)."""

from torch import Tensor, nn
from torch.nn import functional

from MorseCore.heads.parts.fourier import FourierEncoding
from MorseCore.heads.parts.pointwise import linear_of_parts

__all__ = ["RenderingHead"]


class RenderingHead(nn.Module):
    """MLP on [psi(p), x_out(p), v(p)]: three hidden layers and a predictor.

    The paper lists psi and x_out; its code and PointRend, by which it is inspired, also feed the
    coarse logits v. Without psi this is PointRend's point head. The predictor starts at
    N(0, 0.001) as in PointRend, the hidden layers as torch makes them (detectron2: He's).
    """

    def __init__(
        self,
        features: int,
        *,
        width: int,
        num_classes: int,
        encoding: FourierEncoding | None,
        reinject: bool,
        residual: bool,
    ) -> None:
        """:param features: channels of x_out.
        :param encoding: psi, None for none.
        :param reinject: feed v to every layer, not only to the first.
        :param residual: add v to the result.
        """
        super().__init__()
        self.encoding = encoding
        self.reinject, self.residual = reinject, residual
        extra = num_classes if reinject else 0
        inputs = (encoding.channels if encoding else 0) + features + num_classes
        layers: list[nn.Linear] = []
        for _ in range(3):
            layers.append(nn.Linear(inputs, width))
            inputs = width + extra
        self.hidden = nn.ModuleList(layers)
        self.predict = nn.Linear(inputs, num_classes)
        nn.init.normal_(self.predict.weight, std=0.001)
        nn.init.zeros_(self.predict.bias)

    def forward(self, coords: Tensor, features: Tensor, coarse: Tensor) -> Tensor:
        """(B, P, D), (B, P, W), (B, P, C) -> rendered logits (B, P, C)."""
        position = [] if self.encoding is None else self.encoding.parts(coords)
        beside = [coarse] if self.reinject else []
        parts = [*position, features, coarse]
        for layer in self.hidden:
            parts = [functional.relu(linear_of_parts(layer, parts), inplace=True), *beside]
        logits = linear_of_parts(self.predict, parts)
        return coarse + logits if self.residual else logits
