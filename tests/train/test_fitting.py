"""How many images fit: what is proposed, what the machine leaves, what happens when a trial fails."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st

from tests.train.tiny import recipe
from triscale.train import Resources, fitting
from triscale.train.fitting import OutOfMemory, _candidates, _left_by_control_groups, fitting_group, is_out_of_memory
from triscale.train.loader import shares

CPU = torch.device("cpu")


@given(st.integers(1, 5000), st.integers(1, 64))
@settings(deadline=None)
def test_candidates_cut_the_batch_evenly_and_leave_nobody_idle(batch_size: int, world_size: int) -> None:
    found = _candidates(replace(recipe(), batch_size=batch_size, batch_norm_images=None), world_size)
    assert found == sorted(set(found), reverse=True)
    assert found[-1] == 1
    assert all(batch_size % images == 0 and images <= fitting.MOST_IMAGES for images in found)
    if world_size <= batch_size:
        for images in found:
            for rank in (0, world_size - 1):
                assert shares(batch_size=batch_size, group_images=images, rank=rank, world_size=world_size)


def test_a_failed_trial_leads_to_the_next_smaller_group(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def trial(*_: object, images: int) -> None:
        tried.append(images)
        if images > 4:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr(fitting, "_try_update", trial)
    asked = replace(recipe(), batch_size=16, batch_norm_images=None)
    assert fitting_group(asked, Resources(device="cpu"), CPU) == 4
    assert tried == [16, 8, 4]

    def never(*_: object, **_images: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(fitting, "_try_update", never)
    with pytest.raises(OutOfMemory, match=r"one image of 12x12 does not fit tiny .*; try --recompute, or a smaller"):
        fitting_group(asked, Resources(device="cpu"), CPU)

    def broken(*_: object, **_images: int) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(fitting, "_try_update", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        fitting_group(asked, Resources(device="cpu"), CPU)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_shortages_of_memory_are_told_from_defects(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected


def test_what_torch_says_when_memory_runs_out_is_understood() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)


def group(path: Path, *, limit: str, used: int, cached: int = 0) -> None:
    path.mkdir(parents=True, exist_ok=True)
    (path / "memory.max").write_text(f"{limit}\n")
    (path / "memory.current").write_text(f"{used}\n")
    (path / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")


def test_every_control_group_around_a_process_counts(tmp_path: Path) -> None:
    group(tmp_path / "pod", limit="1000", used=700, cached=200)
    group(tmp_path / "pod" / "job", limit="max", used=300)
    group(tmp_path / "pod" / "job" / "step", limit="800", used=100)
    membership = tmp_path / "membership"
    membership.write_text("9:cpu:/elsewhere\n0::/pod/job/step\n")
    assert sorted(_left_by_control_groups(membership, tmp_path)) == [500, 700]
    membership.write_text("0::/../unseen\n")
    group(tmp_path, limit="90", used=100)
    assert 0 in list(_left_by_control_groups(membership, tmp_path))
    assert list(_left_by_control_groups(tmp_path / "absent", tmp_path)) == []
