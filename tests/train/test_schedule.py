"""The learning rate against TensorFlow's schedules, and what must hold for any schedule."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from triscale.arch.codec import decode, encode
from triscale.train.schedule import Schedule, ScheduleKind, rate, scaled_peak

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "tensorflow_training.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("golden", GOLDEN["schedules"], ids=lambda x: f"{x['kind']}-{x['batch_size']}")
def test_equals_tensorflow(golden: dict[str, Any]) -> None:
    schedule = Schedule(kind=ScheduleKind(golden["kind"]), warmup_epochs=golden["warmup_epochs"])
    run = {name: golden[name] for name in ("steps_per_epoch", "total_steps", "batch_size")}
    # TensorFlow's cosine is in single precision.
    tolerance = 1e-6 if schedule.kind is ScheduleKind.COSINE else 1e-11
    for step, expected in golden["rates"]:
        assert rate(schedule, step=step, **run) == pytest.approx(expected, rel=tolerance, abs=tolerance * 1e-3), step


def test_paper_is_warm_at_two_stairs_below_the_peak() -> None:
    run: dict[str, Any] = {"steps_per_epoch": 1000, "total_steps": 350_000, "batch_size": 4096}
    peak = scaled_peak(base_rate=0.016, batch_size=4096)
    assert peak == 0.256
    assert rate(Schedule(), step=4999, **run) == pytest.approx(peak * 4999 / 5000)
    assert rate(Schedule(), step=5000, **run) == pytest.approx(0.2409, abs=5e-5)
    assert rate(Schedule(), step=7199, **run) == rate(Schedule(), step=5000, **run)
    assert rate(Schedule(), step=7200, **run) == pytest.approx(peak * 0.97**3)
    assert rate(Schedule(), step=349_999, **run) == pytest.approx(peak * 0.97**145)


schedules = st.builds(
    Schedule,
    kind=st.sampled_from(ScheduleKind),
    base_rate=st.floats(1e-5, 10),
    warmup_epochs=st.integers(0, 20).map(lambda x: x / 2),
    decay=st.floats(0.5, 1),
    decay_epochs=st.integers(1, 20).map(lambda x: x / 4),
    staircase=st.booleans(),
)


@given(schedules, st.integers(1, 50), st.integers(1, 30), st.integers(1, 8192))
def test_climbs_straight_to_the_curve_then_never_climbs(
    schedule: Schedule, steps_per_epoch: int, epochs: int, batch_size: int
) -> None:
    total = steps_per_epoch * epochs
    peak = scaled_peak(base_rate=schedule.base_rate, batch_size=batch_size)

    def at(step: int) -> float:
        return rate(schedule, step=step, steps_per_epoch=steps_per_epoch, total_steps=total, batch_size=batch_size)

    warm = int(schedule.warmup_epochs * steps_per_epoch)
    rates = [at(step) for step in range(total)]
    assert all(0 <= x <= peak * (1 + 1e-12) for x in rates)
    for step, x in enumerate(rates[:warm]):
        assert x * warm == pytest.approx(peak * step)
    falling = rates[warm:]
    assert falling == sorted(falling, reverse=True)
    if falling and schedule.kind is not ScheduleKind.EXPONENTIAL:
        assert falling[0] == peak


@given(st.floats(0.5, 1), st.integers(1, 20), st.integers(1, 50), st.integers(0, 10_000))
def test_stairs_are_counted_from_the_first_step(decay: float, quarters: int, steps_per_epoch: int, after: int) -> None:
    schedule = Schedule(decay=decay, decay_epochs=quarters / 4, warmup_epochs=3.0)
    step = 3 * steps_per_epoch + after
    # Quarters of whole numbers add up exactly.
    expected = schedule.base_rate
    ends = schedule.decay_epochs * steps_per_epoch
    while step >= ends:
        expected *= schedule.decay
        ends += schedule.decay_epochs * steps_per_epoch
    found = rate(schedule, step=step, steps_per_epoch=steps_per_epoch, total_steps=1, batch_size=256)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("kind", [ScheduleKind.COSINE, ScheduleKind.LINEAR])
def test_ends_at_zero_and_stays_there(kind: ScheduleKind) -> None:
    run: dict[str, Any] = {"steps_per_epoch": 10, "total_steps": 100, "batch_size": 256}
    schedule = Schedule(kind=kind, warmup_epochs=2)
    assert rate(schedule, step=60, **run) == pytest.approx(0.016 / 2)
    assert 0 < rate(schedule, step=99, **run) < 0.016 / 50
    assert rate(schedule, step=100, **run) == 0
    assert rate(schedule, step=101, **run) == 0


@given(schedules)
def test_survives_json(schedule: Schedule) -> None:
    assert decode(Schedule, json.loads(json.dumps(encode(schedule)))) == schedule


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("base_rate", 0.0),
        ("base_rate", float("inf")),
        ("warmup_epochs", -1.0),
        ("warmup_epochs", float("nan")),
        ("decay", 0.0),
        ("decay", 1.01),
        ("decay_epochs", 0.0),
    ],
)
def test_senseless_value_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        Schedule(**{field: value})
