"""Colours of classes that have none."""

import colorsys

# Told apart by those who do not see all colours alike (Okabe and Ito, 2008), black first.
FIRST_COLOURS = ("000000", "e69f00", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "cc79a7")


def rgb(value: int) -> tuple[int, int, int]:
    """Red, green and blue of `0xRRGGBB`."""
    return value >> 16, value >> 8 & 255, value & 255


def hue(i: int) -> tuple[int, int, int]:
    """A colour for class `i`, unlike those of other numbers."""
    if i < len(FIRST_COLOURS):
        return rgb(int(FIRST_COLOURS[i], 16))
    red, green, blue = colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.9 - i // 7 % 3 * 0.25, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
