"""Train AlexNet at a quarter of its width for an epoch on photographs with PyTorch: FOLDER."""

import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset


class Photographs(Dataset[tuple[Tensor, int]]):
    """The images of a folder with one subfolder for each class, 71 x 71 pixels."""

    def __init__(self, folder: Path) -> None:
        self.classes = sorted(folder.iterdir())
        self.files = [(file, label) for label, place in enumerate(self.classes) for file in sorted(place.iterdir())]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        file, label = self.files[index]
        with Image.open(file) as image:
            image.draft("RGB", (71, 71))  # decodes a JPEG at a fraction of its size
            pixels = np.asarray(image.convert("RGB").resize((71, 71), Image.Resampling.BILINEAR))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1), label


def block(before: int, after: int, size: int) -> list[nn.Module]:
    """Return a convolution with ReLU."""
    return [nn.Conv2d(before, after, size, padding=size // 2), nn.ReLU(inplace=True)]


def main() -> None:
    """Train and test."""
    photographs = Photographs(Path(sys.argv[1]))
    order = torch.randperm(len(photographs), generator=torch.Generator().manual_seed(0)).tolist()
    held = round(0.19 * len(order))
    train, test = (
        DataLoader(Subset(photographs, rows), 128, shuffle=shuffle, num_workers=os.cpu_count() or 1, drop_last=shuffle)
        for rows, shuffle in ((order[held:], True), (order[:held], False))
    )
    model = nn.Sequential(
        *(*block(3, 24, 5), nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0), nn.MaxPool2d(3, 2)),
        *(*block(24, 64, 5), nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0), nn.MaxPool2d(3, 2)),
        *(*block(64, 96, 3), *block(96, 96, 3), *block(96, 64, 3), nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.LazyLinear(1024), nn.ReLU(inplace=True), nn.Dropout(0.3)),
        *(nn.Linear(1024, 1024), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Linear(1024, 4)),
    )
    model(torch.zeros(1, 3, 63, 63))
    optimizer = torch.optim.Adam(model.parameters(), 0.0005)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(train))
    for images, labels in train:
        top, left = torch.randint(9, (2,)).tolist()
        x = images[:, :, top : top + 63, left : left + 63].float() - 110
        x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x, x.flip(3))
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        right = [model(images[:, :, 4:67, 4:67].float() - 110).argmax(dim=1) == labels for images, labels in test]
    print(f"test accuracy {torch.cat(right).float().mean():.4f}")


if __name__ == "__main__":
    main()
