"""Random shifts of images: the same for all steps of a sequence, with repeated borders."""

import torch

from mbrl_cli.nets.random_shift import random_shift

SHAPE = 2, 16, 16  # shifted by at most one pixel


def test_every_image_is_shifted_by_whole_pixels_with_repeated_borders(generator):
    images = torch.randn(3, 50, 2 * 16 * 16, generator=generator)
    shifted = random_shift(images, SHAPE, generator).view(3, 50, *SHAPE)
    padded = torch.nn.functional.pad(images.view(-1, *SHAPE), (1, 1, 1, 1), mode="replicate")
    padded = padded.view(3, 50, 2, 18, 18)
    seen = set()
    for sequence in range(50):
        fits = [
            (row, column)
            for row in range(3)
            for column in range(3)
            if torch.equal(
                padded[:, sequence, :, row : row + 16, column : column + 16], shifted[:, sequence]
            )
        ]
        assert len(fits) == 1  # one shift for all three steps and both channels
        seen.update(fits)
    assert len(seen) == 9


def test_larger_images_are_shifted_further(generator):
    image = torch.zeros(1, 200, 64, 64)
    image[:, :, 32, 32] = 1.0
    shifted = random_shift(image.view(1, 200, -1), (1, 64, 64), generator).view(200, 64, 64)
    _, rows, columns = shifted.nonzero(as_tuple=True)
    for places in (rows, columns):
        assert set(places.tolist()) == set(range(28, 37))
