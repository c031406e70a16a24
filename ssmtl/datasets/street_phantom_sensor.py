"""Light and lens: the weather of a scene, and how the camera turns light into pixels."""

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.ndimage import gaussian_filter

from ssmtl.datasets.street_phantom_backdrop import Weather

SKIES = (((96, 142, 206), (200, 214, 226)), ((176, 182, 190), (212, 214, 214)), ((108, 110, 142), (222, 176, 142)))
"""Clear, overcast and dusk, as (zenith, horizon)."""
LEVELS = 4096
"""Steps in which the contrast curve is tabulated, 16 times as fine as pixels."""


def forecast(rng: np.random.Generator) -> Weather:
    """Draw the weather: clear with hard shadows, overcast, or dusk."""
    which = int(rng.choice(3, p=[0.45, 0.38, 0.17]))
    zenith, haze = (
        (np.array(color) / 255 * (1 + rng.normal(0, 0.05, 3)) * rng.uniform(0.85, 1.1)).astype(np.float32)
        for color in SKIES[which]
    )
    angle, low = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.5)
    shadow = (rng.uniform(0.25, 0.55), rng.uniform(0.05, 0.15), rng.uniform(0.05, 0.2))[which]
    sunny = 0.6 * shadow * np.cos(angle)
    return Weather(
        zenith=zenith,
        haze=haze,
        clouds=float((rng.uniform(0.1, 0.6), rng.uniform(0.5, 1.0), rng.uniform(0.2, 0.7))[which]),
        visibility=float(np.exp(rng.uniform(np.log(200), np.log(1500)))),
        sun=(float(low * np.cos(angle)), float(low * np.sin(angle))) if which == 0 else (0.1, 0.0),
        shadow=float(shadow),
        sides=(float(0.9 + sunny), float(0.9 - sunny)),
        texture=(int(rng.integers(256)), int(rng.integers(256))),
    )


def expose(light: Float32[np.ndarray, "3 h w"], rng: np.random.Generator) -> UInt8[np.ndarray, "3 h w"]:
    """Turn light (1 is white) into pixels: lens, exposure, white balance, contrast, sensor noise."""
    height, width = light.shape[1:]
    unit = min(height, width)
    rows = np.square((np.arange(height) + 0.5 - height / 2) / unit)[:, None]
    columns = np.square((np.arange(width) + 0.5 - width / 2) / unit)[None, :]
    gain = (np.exp(rng.normal(0.05, 0.2)) * (1 + rng.normal(0, [0.07, 0.02, 0.09]))).astype(np.float32)
    vignette = rng.uniform(0.0, 0.6) * (rows + columns) / (1 + np.square(width / height) / 4)
    picture = light * np.maximum(1 - vignette, 0.2).astype(np.float32) * gain[:, None, None]
    sigma = rng.uniform(0.0, 0.006) * unit
    if sigma > 0.3:
        picture = gaussian_filter(picture, (0, sigma, sigma), truncate=2.5, mode="nearest")
    gray = (picture[0] + picture[1] + picture[2]) / 3
    picture = gray + np.float32(rng.uniform(0.5, 1.25)) * (picture - gray)
    curve = (np.linspace(0, 1, LEVELS) ** np.exp(rng.normal(-0.15, 0.18))).astype(np.float32)
    picture = curve.take(np.clip(picture * np.float32(LEVELS), 0, LEVELS - 1).astype(np.int64))
    grain = np.float32(rng.uniform(0.005, 0.032)) * rng.standard_normal(picture.shape, np.float32)
    picture += grain * (np.float32(0.6) + np.float32(0.4) * picture)
    return (np.clip(picture, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
