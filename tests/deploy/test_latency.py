from dataclasses import replace

import pytest
import torch

from triscale.arch import get_network, square
from triscale.deploy import latency
from triscale.deploy.latency import Latency, measure_latency, time_calls, torch_threads

SMALL = replace(get_network("mobilenetv2-w0.35"), resolution=square(32), input_channels=2)


class Clock:
    """A clock that only moves when a call says it took time."""

    def __init__(self, *durations_s: float) -> None:
        self.now_s = 100.0
        self.durations_s = list(durations_s)
        self.calls = 0

    def __call__(self) -> float:
        return self.now_s

    def work(self) -> None:
        self.now_s += self.durations_s[min(self.calls, len(self.durations_s) - 1)]
        self.calls += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(latency.time, "perf_counter", made)
    return made


def test_median_ignores_one_disturbed_run() -> None:
    found = Latency((3.0, 1.0, 90.0))
    assert (found.median_ms, found.fastest_ms) == (3.0, 1.0)


def test_warm_up_is_not_timed(clock: Clock) -> None:
    clock.durations_s = [9.0, 0.002, 0.002, 0.003, 0.005, 0.004]
    found = time_calls(clock.work, warm_up=3, runs=3, limit_s=60)
    assert found.times_ms == pytest.approx((3, 5, 4))


def test_slow_calls_are_repeated_less(clock: Clock) -> None:
    clock.durations_s = [2.0]
    found = time_calls(clock.work, warm_up=3, runs=15, limit_s=5)
    assert found.times_ms == pytest.approx((2000, 2000, 2000))
    assert clock.calls == 6
    clock.durations_s, clock.calls = [20.0], 0
    time_calls(clock.work, warm_up=3, runs=2, limit_s=5)
    assert clock.calls == 3  # one to warm up, two timed


def test_threads_are_set_and_restored() -> None:
    before = torch.get_num_threads()
    seen = []

    def fail() -> None:
        with torch_threads(before + 1):
            seen.append(torch.get_num_threads())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


def test_network_is_measured_as_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = latency.time_calls

    def spy(call: object, **settings: object) -> Latency:
        logits = call()  # type: ignore[operator]
        seen.append((tuple(logits.shape), logits.requires_grad, torch.get_num_threads(), bool(logits.isfinite().all())))
        return real(call, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(latency, "time_calls", spy)
    found = measure_latency(SMALL, batch_size=3, threads=1, runs=4)
    assert seen == [((3, 1000), False, 1, True)]
    assert len(found.times_ms) == 4
    assert 0 < found.fastest_ms <= found.median_ms


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"runs": 0}, "at least 1 run"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure_latency(SMALL, **settings)
