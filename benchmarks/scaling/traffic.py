"""Calls a second, for every second: made up, or recorded."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Traffic = NDArray[np.float64]

MINUTE = 60


def step(low: float, high: float) -> Traffic:
    """Ten minutes of little, fifteen of much, and forty-five of little again."""
    return np.repeat([low, high, low], [10 * MINUTE, 15 * MINUTE, 45 * MINUTE]).astype(float)


def ramp(low: float, high: float) -> Traffic:
    """Ten minutes of little, twenty in which it grows, ten of much, twenty in which it falls, and twenty of little."""
    minutes, rates = (0, 10, 30, 40, 60, 80), (low, low, high, high, low, low)
    return np.interp(np.arange(80 * MINUTE) / MINUTE, minutes, rates)


def day(low: float, high: float, seed: int = 5) -> Traffic:
    """A day of a shop: least at four, most at nine in the evening, ragged by the minute, with three rushes of ten
    minutes, each of which doubles it within one."""
    hours = (0, 2, 4, 7, 10, 13, 16, 19, 21, 23, 24)
    shares = (0.35, 0.1, 0.0, 0.15, 0.55, 0.5, 0.6, 0.8, 1.0, 0.6, 0.35)
    seconds = np.arange(24 * 60 * MINUTE)
    smooth = low + (high - low) * np.interp(seconds / 3600, hours, shares)
    chance = np.random.default_rng(seed)
    ragged = np.repeat(chance.lognormal(0.0, 0.08, 24 * 60), MINUTE)
    rush = np.ones(len(seconds))
    for hour in (9.5, 15.0, 20.0):
        began = int(hour * 3600)
        shape = np.interp(np.arange(12 * MINUTE), (0, MINUTE, 11 * MINUTE, 12 * MINUTE), (1.0, 2.0, 2.0, 1.0))
        rush[began : began + len(shape)] = shape
    return np.asarray(smooth * ragged * rush)


def recorded(file: Path) -> Traffic:
    """Reads calls a second from a report of load, ghz's or ours, or from a text file with a number for each second."""
    text = file.read_text(encoding="utf-8")
    if not text.lstrip().startswith("{"):
        return np.array([float(line) for line in text.split()])
    details = json.loads(text)["details"]
    sent = np.array([datetime.fromisoformat(one["timestamp"]).timestamp() - one["latency"] / 1e9 for one in details])
    return np.bincount((sent - sent.min()).astype(int)).astype(float)
