"""SRResNet as a textbook would write it: torch's layers alone."""

from __future__ import annotations

from torch import Tensor, nn

CHANNELS = 64
BLOCKS = 16


class PlainGenerator(nn.Module):
    """The same network as srgan.models.Generator."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, CHANNELS, 9, padding=4), nn.PReLU())
        self.blocks = nn.ModuleList(self._block() for _ in range(BLOCKS))
        self.last = nn.Sequential(
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False), nn.BatchNorm2d(CHANNELS)
        )
        self.tail = nn.Sequential(
            *(layer for _ in range(2) for layer in self._upscale()),
            nn.Conv2d(CHANNELS, 3, 9, padding=4),
        )

    def forward(self, low: Tensor) -> Tensor:
        features = first = self.head(low)
        for block in self.blocks:
            features = features + block(features)
        return self.tail(first + self.last(features))

    @staticmethod
    def _block() -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False),
            nn.BatchNorm2d(CHANNELS),
            nn.PReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False),
            nn.BatchNorm2d(CHANNELS),
        )

    @staticmethod
    def _upscale() -> list[nn.Module]:
        widen = nn.Conv2d(CHANNELS, 4 * CHANNELS, 3, padding=1)
        return [widen, nn.PixelShuffle(2), nn.PReLU()]
