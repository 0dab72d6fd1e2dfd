"""The block of a vision transformer. ``B`` batch, ``T`` tokens, ``W`` hidden width, ``H`` heads."""

from torch import Tensor, nn
from torch.nn import functional

from MorseCore.errors import ConfigError

__all__ = ["TransformerBlock", "check_transformer"]


def check_transformer(*, hidden: int, mlp: int, heads: int, layers: int) -> None:
    """Refuse sizes from which no transformer can be built.

    :raises ConfigError: if one is not positive or the heads do not divide the width.
    """
    for name, value in (("hidden", hidden), ("mlp", mlp), ("heads", heads), ("layers", layers)):
        if value < 1:
            raise ConfigError(f"'{name}' must be positive; found {value}.")
    if hidden % heads:
        raise ConfigError(f"'hidden' must be a multiple of 'heads' ({heads}); found {hidden}.")


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): the encoder block of ViT (Dosovitskiy 2021).

    MONAI's block is not used: its norms have another epsilon than TransUNet's, it holds a norm for
    cross-attention that never has a gradient, and inference does without MONAI in this project.
    """

    def __init__(
        self,
        hidden: int,
        *,
        mlp: int,
        heads: int,
        qkv_bias: bool,
        epsilon: float = 1e-5,
        dropout: float = 0.0,
    ) -> None:
        """
        :param qkv_bias: whether queries, keys and values have a bias (TransUNet) or not (UNETR).
        :param dropout: of the two layers of the MLP.
        """
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(hidden, eps=epsilon)
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=qkv_bias)
        self.project = nn.Linear(hidden, hidden)
        self.norm_mlp = nn.LayerNorm(hidden, eps=epsilon)
        self.mlp = nn.Sequential(
            nn.Linear(hidden, mlp),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp, hidden),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, W) -> (B, T, W)."""
        batch, count, hidden = tokens.shape
        parts = self.qkv(self.norm_attention(tokens))  # (B, T, 3W)
        parts = parts.view(batch, count, 3, self.heads, hidden // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)  # (B, H, T, W / H) each
        attended = functional.scaled_dot_product_attention(queries, keys, values)
        tokens = tokens + self.project(attended.transpose(1, 2).flatten(2))
        result: Tensor = tokens + self.mlp(self.norm_mlp(tokens))
        return result
