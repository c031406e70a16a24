"""Who is in the street, and where: parked and moving cars, people on the pavement and crossing, trees, poles."""

import numpy as np

from ssmtl.datasets.street_phantom_camera import Camera
from ssmtl.datasets.street_phantom_figures import bicyclist, bush, clutter, pedestrian, pole, sign, tree
from ssmtl.datasets.street_phantom_layout import Street
from ssmtl.datasets.street_phantom_things import Thing, car

DESERTED = 0.03
"""Share of the streets with nobody and no car in them; in a few more, all are too far away or hidden."""


def furnish(street: Street, rng: np.random.Generator) -> list[Thing]:
    """Return trees, bushes, lamps, posts, signs and clutter along the pavements."""
    things = []
    for side in (0, 1):
        sign_of = (-1, 1)[side]
        room = street.wall[side] - street.road[side]
        spacing, planted = rng.uniform(7.0, 16.0), rng.random() < 0.55
        for z in np.arange(rng.uniform(4.0, 14.0), 60.0, spacing):
            x = sign_of * (street.road[side] + rng.uniform(0.35, 0.6))
            build = rng.choice(4, p=[0.5, 0.12, 0.23, 0.15]) if planted else rng.choice(4, p=[0.06, 0.1, 0.6, 0.24])
            place = (x, float(z + rng.uniform(-1.5, 1.5)))
            things.append((tree, bush, pole, pole)[build](place, rng))
            if build == 3:
                things.append(sign(place, rng))
        for _ in range(rng.integers(0, 4)):
            place = (sign_of * (street.road[side] + rng.uniform(0.3, 1.0) * room), float(rng.uniform(5.0, 35.0)))
            things.append((bush if rng.random() < 0.35 else clutter)(place, rng))
    return things


def _span(rng: np.random.Generator, nearest: float, farthest: float) -> float:
    """Draw a distance; near ones are likelier, as things are seen larger there."""
    return float(nearest * (farthest / nearest) ** rng.random())


def populate(street: Street, camera: Camera, rng: np.random.Generator) -> list[Thing]:
    """Return cars, pedestrians and bicyclists: none in a deserted street, two dozen in a busy one."""
    busy = float(rng.gamma(1.8, 0.65))
    deserted = rng.random() < DESERTED
    things = _parked(street, camera, rng) + _driving(street, camera, busy, rng)
    things += _walking(street, busy, rng) + _riding(street, busy, rng)
    return [] if deserted else _apart(things)


def _parked(street: Street, camera: Camera, rng: np.random.Generator) -> list[Thing]:
    cars = []
    for side in (0, 1):
        full = rng.choice([0.0, 0.35, 0.85], p=[0.5, 0.25, 0.25])
        x = (-1, 1)[side] * (street.road[side] - rng.uniform(1.0, 1.2))
        reverse = rng.random() < (0.85, 0.1)[side]
        for z in np.arange(rng.uniform(5.5, 10.0), 48.0, rng.uniform(5.6, 6.4)):
            if rng.random() < full and abs(x - camera.x) > 1.6:
                heading = np.pi * reverse + rng.normal(0.0, 0.03)
                cars.append(car((x + rng.normal(0, 0.08), float(z + rng.normal(0, 0.2))), heading, camera, rng))
    return cars


def _driving(street: Street, camera: Camera, busy: float, rng: np.random.Generator) -> list[Thing]:
    cars = []
    if rng.random() < 0.55 * min(busy, 1.5):
        place = (camera.x + rng.normal(0, 0.25), _span(rng, 7.0, 32.0))
        cars.append(car(place, rng.normal(0.0, 0.05), camera, rng))
    for _ in range(rng.poisson(0.6 * busy)):
        place = (-rng.uniform(0.25, 0.6) * street.road[0], _span(rng, 7.0, 40.0))
        cars.append(car(place, np.pi + rng.normal(0.0, 0.05), camera, rng))
    if rng.random() < 0.16 * busy:
        heading = rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0.0, 0.2)
        place = (rng.uniform(-street.road[0], street.road[1]), _span(rng, 8.0, 25.0))
        cars.append(car(place, heading, camera, rng))
    return cars


def _walking(street: Street, busy: float, rng: np.random.Generator) -> list[Thing]:
    people = []
    for _ in range(rng.poisson(2.6 * busy)):
        side = int(rng.integers(2))
        room = street.wall[side] - street.road[side]
        x = (-1, 1)[side] * (street.road[side] + rng.uniform(0.15, 0.9) * room)
        heading = float(rng.choice([0.0, np.pi])) + rng.normal(0.0, 0.4)
        if rng.random() < 0.22:
            x, heading = rng.uniform(-street.road[0], street.road[1]), rng.choice([-1, 1]) * np.pi / 2
        z = _span(rng, 4.2, 13.0)
        for companion in range(1 + rng.binomial(2, 0.22)):
            place = (x + companion * rng.uniform(0.4, 0.7), z + companion * rng.normal(0.0, 0.4))
            people.append(pedestrian(place, heading, rng))
    return people


def _riding(street: Street, busy: float, rng: np.random.Generator) -> list[Thing]:
    riders = []
    for _ in range(rng.poisson(1.3 * busy)):
        turn = rng.choice([0.0, np.pi, np.pi / 2, -np.pi / 2], p=[0.4, 0.25, 0.175, 0.175])
        x = rng.uniform(-street.road[0] + 0.5, street.road[1] - 0.5)
        riders.append(bicyclist((x, _span(rng, 4.5, 13.0)), turn + rng.normal(0.0, 0.3), rng))
    return riders


def _apart(things: list[Thing]) -> list[Thing]:
    """Leave out whoever would stand inside somebody who came first in the list."""
    kept: list[Thing] = []
    for one in things:
        if all(_gap(one, other) > 0 for other in kept):
            kept.append(one)
    return kept


def _gap(one: Thing, other: Thing) -> float:
    across = abs(one.place[0] - other.place[0]) - one.foot[0] - other.foot[0]
    along = abs(one.place[1] - other.place[1]) - one.foot[1] - other.foot[1]
    return max(across, along)
