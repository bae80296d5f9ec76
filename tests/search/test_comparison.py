"""The scaling study: what it trains, in which order, and what it says of the results."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from triscale.arch.codec import encode
from triscale.arch.coefficients import Coefficients
from triscale.arch.scale import scale
from triscale.arch.spec import NetworkSpec, square
from triscale.arch.zoo import get_network
from triscale.cost import network_cost
from triscale.scaling import CompoundScaling
from triscale.search.comparison import ScalingStudy, Way, scaling_study
from triscale.search.comparison_summary import StudySummary, summary
from triscale.search.job import Job, Result
from triscale.search.planner import Params, Pause, Planner, State, Trial
from triscale.search.statistics import difference, pooled_deviation

MOBILENETV1 = get_network("mobilenetv1")
LINES = ((1.0, 1.0), (1.0, 1.3), (2.0, 1.0), (2.0, 1.3))
"""Those of Figure 4."""


def small() -> NetworkSpec:
    """EfficientNet-B0 for images of 14 pixels."""
    spec = scale(get_network("efficientnet-b0"), Coefficients(depth=0.34, width=0.25), name="small")
    return replace(
        spec, resolution=square(14), stages=(replace(spec.stages[0], stride=1), *spec.stages[1:]), classes=10
    )


def run(study: Planner, score: Callable[[Job], float | None], *, most: int = 1000, images: int = 10**6) -> list[Trial]:
    """Trials in the order that the study asks for; a score of None is a training that failed."""
    past: list[Trial] = []
    while len(past) < most and not isinstance(params := study.propose(past), Pause):
        value = score(study.job(params))
        result = None if value is None else Result(score=value, images=images, seconds=1.0)
        state = State.FAILED if value is None else State.DONE
        past.append(Trial(number=len(past), params=params, state=state, value=value, result=result))
    return past


def named(scores: dict[str, Sequence[float]]) -> Callable[[Job], float | None]:
    """Scores by the end of a network's name and the seed; 0.5 for all others."""

    def score(job: Job) -> float | None:
        found = [values for end, values in scores.items() if job.network.name.endswith(end)]
        return found[0][job.seed] if found else 0.5

    return score


@pytest.fixture(scope="module")
def study() -> ScalingStudy:
    return scaling_study(MOBILENETV1, ways=tuple(Way), factors=(4, 2), seeds=3)


@pytest.fixture(scope="module")
def lines() -> ScalingStudy:
    return scaling_study(MOBILENETV1, ways=[Way.WIDTH], factors=(2,), seeds=1, width_lines=LINES)


def test_networks_are_named_for_what_was_done(study: ScalingStudy) -> None:
    assert list(study.networks) == [
        "mobilenetv1",
        *(f"mobilenetv1-{way}-x{factor}" for factor in (2, 4) for way in Way),
    ]
    assert all(spec.name == name for name, spec in study.networks.items())
    assert study.choices == {"network": tuple(study.networks), "seed": (0, 1, 2)}


def test_whole_rounds_are_asked_for(study: ScalingStudy) -> None:
    trials = run(study, lambda _job: 0.5)
    assert [(trial.params["seed"], trial.params["network"]) for trial in trials] == [
        (seed, name) for seed in range(3) for name in study.networks
    ]
    assert [study.job(trial.params) for trial in trials] == list(study.expected())
    assert len({job.key for job in study.expected()}) == len(trials) == 27
    assert study.value(trials[0].params, Result(score=0.25, images=4, seconds=1.0)) == 0.25


def test_what_is_missing_is_asked_for_first(study: ScalingStudy) -> None:
    trials = run(study, lambda _job: 0.5)
    gone: Params = trials[5].params
    assert study.propose([trial for trial in trials if trial.params != gone]) == gone
    running = [replace(trial, state=State.RUNNING, result=None) for trial in trials]
    assert study.propose(running) is Pause.END


@pytest.mark.parametrize(
    "baseline",
    [*(get_network(name) for name in ("efficientnet-b0", "mobilenetv1", "mobilenetv2", "resnet18")), small()],
    ids=lambda spec: spec.name,
)
def test_ways_have_equal_macs(baseline: NetworkSpec) -> None:
    study = scaling_study(baseline, ways=tuple(Way), factors=(2, 4), seeds=1)
    found = summary(study, [])
    assert found.rows[0].macs == network_cost(baseline).macs
    for factor in (2, 4):
        rows = [row for row in found.rows if row.factor == factor]
        assert [row.way for row in rows] == list(Way)
        amounts = [row.macs for row in rows]
        assert max(amounts) / min(amounts) - 1 <= 0.03
        assert amounts[0] / found.rows[0].macs == pytest.approx(factor, rel=0.12)
        for row in rows:
            alone = [name for name in ("depth", "width", "resolution") if getattr(row, name) != 1]
            assert alone == (["depth", "width", "resolution"] if row.way == Way.COMPOUND else [row.way])


def test_compound_scaling_is_the_one_given() -> None:
    study = scaling_study(
        MOBILENETV1, ways=[Way.COMPOUND], factors=[3], seeds=1, scaling=CompoundScaling(1.0, 1.2, 1.2)
    )
    row = summary(study, []).rows[1]
    assert row.depth == 1
    assert row.width == pytest.approx(row.resolution)
    assert row.width > 1.2


def test_figure_4_widens_scaled_baselines(lines: ScalingStudy) -> None:
    rows = summary(lines, []).width_lines
    assert [(row.depth, row.resolution) for row in rows] == [line for line in LINES for _ in range(2)]
    for start, wide in zip(rows[::2], rows[1::2], strict=True):
        assert start.width == 1
        assert wide.width == pytest.approx(2**0.5, rel=0.05)
        assert wide.macs / start.macs == pytest.approx(2, rel=0.05)
    assert rows[0].macs == network_cost(MOBILENETV1).macs
    assert rows[-2].macs == network_cost(scale(MOBILENETV1, Coefficients(depth=2, resolution=1.3))).macs


def test_a_network_of_two_tables_is_trained_once(lines: ScalingStudy) -> None:
    assert list(lines.networks)[:3] == ["mobilenetv1", "mobilenetv1-width-x2", "mobilenetv1-d1-r1.3"]
    assert len(lines.expected()) == 8
    found = summary(lines, run(lines, named({"mobilenetv1-width-x2": [0.7]})))
    assert found.rows[1].scores == found.width_lines[1].scores == (0.7,)
    assert all(row.scores == (0.5,) for row in found.width_lines[2:])


def test_rows_hold_what_is_known(study: ScalingStudy) -> None:
    score = named({"depth-x4": [0.6, 0.62, 0.64]})
    found = summary(study, run(study, score))
    row = next(row for row in found.rows if (row.way, row.factor) == ("depth", 4))
    cost = network_cost(study.networks["mobilenetv1-depth-x4"])
    assert (row.scores, row.macs, row.params) == ((0.6, 0.62, 0.64), cost.macs, cost.params)
    assert (row.mean, row.deviation) == pytest.approx((0.62, 0.02))
    assert (found.rows[0].way, found.rows[0].factor, found.rows[0].pixels) == ("baseline", 1, square(224))


def verdict_texts(found: StudySummary, factor: float) -> list[str]:
    return [verdict.text for verdict in found.verdicts if verdict.factor == factor]


def test_a_difference_beyond_noise_is_told_from_one_within(study: ScalingStudy) -> None:
    scores = {
        "compound-x4": [0.70, 0.701, 0.702],
        "depth-x4": [0.689, 0.688, 0.690],
        "width-x4": [0.70, 0.698, 0.699],
        "resolution-x4": [0.72, 0.721, 0.722],
    }
    found = summary(study, run(study, named(scores)))
    verdicts = {frozenset((each.better, each.worse)): each for each in found.verdicts if each.factor == 4}
    assert len(verdicts) == 3
    pooled = pooled_deviation(scores.values())
    for way in (Way.DEPTH, Way.WIDTH, Way.RESOLUTION):
        verdict = verdicts[frozenset((Way.COMPOUND, way))]
        better, worse = scores[f"{verdict.better}-x4"], scores[f"{verdict.worse}-x4"]
        # Three comparisons at each of two factors.
        expected = difference(better, worse, comparisons=6, pooled=pooled)
        assert expected is not None
        assert (verdict.difference, verdict.low, verdict.high) == pytest.approx(tuple(expected))
        assert verdict.difference >= 0
        assert verdict.within_noise == (way is Way.WIDTH)
    assert verdict_texts(found, 4) == [
        "At 4x the macs compound scaling is 1.2 points better than depth (95 % interval 0.9 to 1.5).",
        "At 4x the macs compound and width scaling differ by 0.2 points, which is within noise "
        "(95 % interval -0.1 to 0.5): more seeds are needed to tell.",
        "At 4x the macs resolution scaling is 2.0 points better than compound (95 % interval 1.7 to 2.3).",
    ]
    assert verdict_texts(found, 2)[0].startswith(
        "At 2x the macs compound and depth scaling differ by 0.0 points, which"
    )


def test_without_compound_the_best_is_compared_as_one_of_many() -> None:
    ways = (Way.DEPTH, Way.WIDTH, Way.RESOLUTION)
    study = scaling_study(MOBILENETV1, ways=ways, factors=(2,), seeds=2)
    scores = {"depth-x2": [0.5, 0.51], "width-x2": [0.61, 0.6], "resolution-x2": [0.55, 0.56]}
    verdicts = summary(study, run(study, named(scores))).verdicts
    assert [(verdict.better, verdict.worse) for verdict in verdicts] == [("width", "depth"), ("width", "resolution")]
    expected = difference([0.61, 0.6], [0.5, 0.51], comparisons=3, pooled=pooled_deviation(scores.values()))
    assert expected is not None
    assert (verdicts[0].low, verdicts[0].high) == pytest.approx((expected.low, expected.high))


def test_one_seed_tells_nothing_about_noise(study: ScalingStudy) -> None:
    found = summary(study, run(study, named({"compound-x2": [0.6]}), most=9))
    assert len(found.verdicts) == 6
    assert all(verdict.within_noise and verdict.low is None and verdict.high is None for verdict in found.verdicts)
    assert verdict_texts(found, 2)[0] == (
        "At 2x the macs compound scaling scores 10.0 points more than depth, but one seed tells nothing about noise: "
        "train from more seeds."
    )


def test_equal_scores_of_few_images_are_not_certain(study: ScalingStudy) -> None:
    scores = {"compound-x2": [0.51] * 3}
    few = summary(study, run(study, named(scores), images=100, most=18))
    many = summary(study, run(study, named(scores), images=100_000, most=18))
    assert all(verdict.within_noise for verdict in few.verdicts)
    assert not any(verdict.within_noise for verdict in many.verdicts if verdict.factor == 2)


def test_partial_and_failed_trainings_are_left_out(study: ScalingStudy) -> None:
    nothing = summary(study, [])
    assert nothing.verdicts == ()
    assert all((row.scores, row.mean, row.deviation) == ((), None, None) for row in nothing.rows)

    def score(job: Job) -> float | None:
        failing = job.network.name.endswith("width-x2") or (job.network.name.endswith("depth-x2") and job.seed == 0)
        return None if failing else 0.5 + 0.01 * job.seed

    found = summary(study, run(study, score, most=14))
    scores = {(row.way, row.factor): row.scores for row in found.rows}
    assert scores["width", 2] == ()
    assert scores["depth", 2] == (0.51,)
    assert scores["compound", 2] == (0.5, 0.51)
    assert scores["compound", 4] == (0.5,)
    assert [(each.factor, {each.better, each.worse} - {"compound"}) for each in found.verdicts] == [
        (2, {"depth"}),
        (2, {"resolution"}),
        (4, {"depth"}),
        (4, {"width"}),
        (4, {"resolution"}),
    ]
    assert [verdict.low is None for verdict in found.verdicts] == [False, False, True, True, True]
    failing_compound = summary(study, run(study, lambda job: None if "compound" in job.network.name else 0.5))
    assert failing_compound.verdicts == ()


def test_verdicts_name_the_macs_that_whole_pixels_allow() -> None:
    study = scaling_study(small(), ways=[Way.RESOLUTION, Way.COMPOUND], factors=[2], seeds=1)
    (verdict,) = summary(study, run(study, lambda _job: 0.5)).verdicts
    rows = summary(study, []).rows
    assert verdict.factor == 2
    assert rows[1].macs / rows[0].macs > 2.1
    assert verdict.text.startswith(f"At {rows[1].macs / rows[0].macs:.1f}x the macs ")


def test_the_summary_is_the_report_in_json(lines: ScalingStudy, study: ScalingStudy) -> None:
    data = json.loads(json.dumps(encode(summary(study, run(study, lambda _job: 0.5)))))
    assert list(data) == ["rows", "verdicts", "width_lines"]
    assert list(data["rows"][0]) == (
        ["way", "factor", "depth", "width", "resolution", "pixels", "macs", "params", "scores", "mean", "deviation"]
    )
    assert data["rows"][0]["pixels"] == [224, 224]
    assert [row["way"] for row in data["rows"][:2]] == ["baseline", "depth"]
    assert list(data["verdicts"][0]) == [
        "factor",
        "better",
        "worse",
        "difference",
        "low",
        "high",
        "within_noise",
        "text",
    ]
    line = json.loads(json.dumps(encode(summary(lines, []))))["width_lines"][0]
    assert list(line) == ["depth", "resolution", "width", "macs", "scores", "mean", "deviation"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ways": []}, r"ways must be some of depth, width, resolution, compound, each once, got none at all"),
        ({"ways": [Way.DEPTH, Way.DEPTH]}, r"ways must be .+, got depth, depth"),
        ({"factors": []}, r"a study needs at least one factor .+"),
        ({"factors": [4, 1]}, r"a factor of macs must be positive and not 1, .+, got 1"),
        ({"factors": [-2.0]}, r"a factor of macs must be positive .+, got -2"),
        ({"factors": [float("nan")]}, r"a factor of macs must be positive .+, got nan"),
        ({"factors": [float("inf")]}, r"factor must be positive and finite, got inf"),
        ({"factors": [2, 4, 2.0]}, r"factors must differ from each other, got 2 4 2; .+"),
        ({"width_lines": [(1, 1), (1, 1)]}, r"width lines must differ from each other, got 1,1 1,1; .+"),
        ({"width_lines": [(0, 1)]}, r"depth coefficient must be positive and finite, got 0"),
        ({"seeds": 0}, r"seeds must be at least 1, got 0"),
        ({"factors": [0.05]}, r"scaling mobilenetv1 by depth to 0\.05 times its macs comes no nearer to .+"),
    ],
)
def test_a_study_that_makes_no_sense_is_refused(changed: dict[str, object], message: str) -> None:
    settings: dict[str, object] = {"ways": [Way.DEPTH], "factors": [2], "seeds": 1, **changed}
    with pytest.raises(ValueError, match=rf"^{message}$"):
        scaling_study(MOBILENETV1, **settings)  # type: ignore[arg-type]
