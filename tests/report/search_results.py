"""Results of searches as results.json holds them. All figures are made up; none was ever measured."""

import itertools
import json
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np

HOSTILE = "<script>window.ran=1</script> $x^2$ \u6a39"


def trial(number: int, score: float | None, **others: Any) -> dict[str, Any]:
    """A training that is done, or failed where it has no score."""
    return {
        "number": number,
        "params": {"network": f"small-{number}", "seed": 0},
        "network": {"name": f"small-{number}", "macs": 3_000_000 + number, "params": 40_000, "resolution": [28, 28]},
        "seed": 0,
        "epochs": 8,
        "state": "failed" if score is None else "done",
        "score": score,
        "images": None if score is None else 10_000,
        "seconds": None if score is None else 71.2 + number,
        "value": score,
        "error": "its loss was infinite from epoch 3 on" if score is None else "",
        "same_as": None,
        **others,
    }


def _results(kind: str, summary: dict[str, Any], trials: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "format": "triscale-search",
        "version": 1,
        "kind": kind,
        "command": f"triscale {'study' if kind == 'study' else f'search {kind}'} --baseline small --data made-up",
        "data": "made-up",
        "baseline": "small",
        "machine": "2 cores, x86_64",
        "versions": {"triscale": "0.1.0", "torch": "2.13.0", "python": "3.11.7"},
        "date": "2026-11-23",
        "executor": "2 processes, 1 core each",
        "training_hours": 1.23,
        "complete": True,
        "trials": trials,
        "summary": summary,
    }


def _spread(scores: list[float]) -> dict[str, Any]:
    return {
        "scores": scores,
        "mean": statistics.fmean(scores) if scores else None,
        "deviation": statistics.stdev(scores) if len(scores) > 1 else None,
    }


def study(*, seeds: int = 3, factors: tuple[float, ...] = (2.0, 4.0, 8.0), lines: bool = True) -> dict[str, Any]:
    """A comparison of all ways to scale, with Figure 4's lines."""
    random = np.random.default_rng(0)
    gains = {"depth": 0.012, "width": 0.014, "resolution": 0.010, "compound": 0.020}

    def row(way: str, factor: float) -> dict[str, Any]:
        centre = 0.88 + gains.get(way, 0.0) * math.copysign(abs(math.log2(factor)) ** 0.8, factor - 1)
        scores = [round(float(score), 4) for score in random.normal(centre, 0.002, seeds)]
        power = {"depth": (1.0, 0, 0), "width": (0, 0.5, 0), "resolution": (0, 0, 0.5), "compound": (0.27, 0.14, 0.2)}
        depth, width, resolution = (factor**each for each in power.get(way, (0, 0, 0)))
        return {
            "way": way,
            "factor": factor,
            "depth": depth,
            "width": width,
            "resolution": resolution,
            "pixels": [round(28 * resolution)] * 2,
            "macs": round(3e6 * factor * (1 + 0.02 * random.uniform(-1, 1))),
            "params": round(40_000 * depth * width**2),
            **_spread(scores),
        }

    rows = [row("baseline", 1.0), *(row(way, factor) for factor in factors for way in gains)]
    verdicts = [
        {
            "factor": factor,
            "better": "compound",
            "worse": worse,
            "difference": 0.012,
            "low": None if seeds < 2 else -0.001 if worse == "width" else 0.004,
            "high": None if seeds < 2 else 0.02,
            "within_noise": seeds < 2 or worse == "width",
            "text": f"At {factor:g}x the macs compound is 1.2 points better than {worse} (95 % interval made up).",
        }
        for factor, worse in itertools.product(factors, ("depth", "width", "resolution"))
    ]
    width_lines = [
        {
            "depth": depth,
            "resolution": resolution,
            "width": width,
            "macs": round(3e6 * depth * resolution**2 * width**2),
            **_spread(
                [round(float(s), 4) for s in random.normal(0.88 + gain * (1 - 2 ** (1 - 2 * width)), 0.002, seeds)]
            ),
        }
        for depth, resolution, gain in ((1.0, 1.0, 0.03), (2.0, 1.0, 0.04), (1.0, 1.3, 0.045), (2.0, 1.3, 0.06))
        for width in (1.0, 1.4, 1.8)
    ]
    trials = [trial(number, float(score)) for number, score in enumerate(s for each in rows for s in each["scores"])]
    return _results("study", {"rows": rows, "verdicts": verdicts, "width_lines": width_lines if lines else []}, trials)


def triples(step: float = 0.05, *, tolerance: float = 0.03) -> list[tuple[float, float, float]]:
    """Coefficients, by steps from 1, that about double multiply-adds."""
    values = [round(1 + step * number, 6) for number in range(round(1 / step) + 1)]
    found = []
    for alpha, beta in itertools.product(values, values):
        gamma = math.sqrt(max(0.0, 2 / alpha)) / beta
        nearest = round(1 + step * round((gamma - 1) / step), 6)
        if nearest >= 1 and abs(alpha * beta**2 * nearest**2 - 2) <= 2 * tolerance:
            found.append((alpha, beta, nearest))
    return found


def coefficients(*, step: float = 0.1, seeds: int = 3, surface: bool = True) -> dict[str, Any]:
    """A search for alpha, beta and gamma."""
    random = np.random.default_rng(1)
    terms = [0.90, 0.905, 0.895, 0.02, 0.03, 0.025]

    def value(triple: tuple[float, float, float]) -> float:
        parts = [factor * math.log2(each) for factor, each in zip((1, 2, 2), triple, strict=True)]
        d, w, r = (part / sum(parts) for part in parts)
        return sum(a * b for a, b in zip(terms, (d, w, r, d * w, d * r, w * r), strict=True))

    candidates = []
    for triple in triples(step, tolerance=0.1):
        scores = [round(float(score), 4) for score in random.normal(value(triple), 0.001, seeds)]
        mean = statistics.fmean(scores)
        candidates.append(
            {
                **dict(zip(("alpha", "beta", "gamma"), triple, strict=True)),
                "macs": round(6e6 * random.uniform(0.95, 1.05)),
                "scores": scores,
                "mean": mean,
                "standard_error": statistics.stdev(scores) / math.sqrt(seeds) if seeds > 1 else None,
                "adjusted": mean - 0.0004,
            }
        )
    best = max(candidates, key=lambda each: each["mean"])
    ends = {"low": best["mean"] - 0.002, "high": best["mean"] + 0.002} if seeds > 1 else {"low": None, "high": None}
    summary = {
        "strategy": "grid",
        "target_macs": 6_000_000,
        "step": step,
        "tolerance": 0.1,
        "candidates": candidates,
        "best": {key: best[key] for key in ("alpha", "beta", "gamma", "mean")} | ends,
        "indistinguishable": [
            [each["alpha"], each["beta"], each["gamma"]]
            for each in candidates
            if best["mean"] - 0.0015 < each["mean"] < best["mean"]
        ],
        "surface": {
            "coefficients": terms,
            "noise": 0.001,
            "optimum": {"alpha": 1.27, "beta": 1.144, "gamma": 1.097, "mean": 0.9088, "low": 0.9079, "high": 0.9097},
            "trainings": len(candidates) * seeds,
        }
        if surface
        else None,
    }
    trials = [
        trial(number, score, params={name: each[name] for name in ("alpha", "beta", "gamma")})
        for number, (each, score) in enumerate((each, score) for each in candidates for score in each["scores"])
    ]
    return _results("coefficients", summary, trials)


def baseline(*, samples: int = 120, finalists: int = 3, seeds: int = 3) -> dict[str, Any]:
    """A search for a baseline of 3 million multiply-adds."""
    random = np.random.default_rng(2)
    candidates = []
    for number in range(samples):
        macs = int(10 ** random.normal(6.5 - 0.05 * number / samples, 0.12))
        score = 0.80 + 0.04 * math.log10(macs / 1e6) + 0.05 * number / samples + random.normal(0, 0.008)
        value = score * (macs / 3e6) ** -0.07
        candidates.append(
            {
                "number": number,
                "macs": macs,
                "params": macs // 60,
                "score": round(float(score), 4),
                "value": float(value),
            }
        )
    front = [
        each["number"]
        for each in candidates
        if not any(
            one["macs"] <= each["macs"] and one["score"] >= each["score"] and one is not each for one in candidates
        )
    ]
    best: list[list[Any]] = []
    for each in candidates:
        if not best or each["value"] > best[-1][1]:
            best.append([each["number"], each["value"]])
    top = [
        {
            "number": each["number"],
            "macs": each["macs"],
            "params": each["params"],
            **_spread([round(float(s), 4) for s in random.normal(each["score"] + 0.025, 0.002, seeds)]),
            "file": f"best-{rank}.json",
        }
        for rank, each in enumerate(sorted(candidates, key=lambda each: -each["value"])[:finalists], 1)
    ]
    summary = {
        "strategy": "controller",
        "target_macs": 3_000_000,
        "exponent": -0.07,
        "cost": "macs",
        "candidates": candidates,
        "front": front,
        "top": top,
        "hand_made": {
            "name": "small",
            "macs": 3_050_000,
            "params": 41_000,
            **_spread([round(float(s), 4) for s in random.normal(0.885, 0.002, seeds)]),
        },
        "best_so_far": best,
    }
    trials = [
        trial(
            each["number"],
            each["score"],
            value=each["value"],
            epochs=1,
            params={"kernel": 3 + 2 * (each["number"] % 2)},
        )
        for each in candidates
    ]
    return _results("baseline", summary, trials)


def write(folder: Path, results: dict[str, Any]) -> Path:
    """results.json in a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    path.write_text(json.dumps(results), encoding="utf-8")
    return path
