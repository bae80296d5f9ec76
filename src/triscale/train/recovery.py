"""Putting a run's state where a checkpoint says it was: after a stop, and before a loss that went wrong."""

from collections.abc import Callable
from pathlib import Path

from triscale.train.checkpoint import Damaged, checkpoint_files, checkpoint_step, read_checkpoint
from triscale.train.distributed import World
from triscale.train.state import TrainState


def resume(state: TrainState, folder: Path, world: World, *, complain: Callable[[str], None]) -> bool:
    """Put `state` where the newest checkpoint in `folder` left it; returns False where there is none.

    A damaged one is skipped for the one before, and `complain` hears of it. Raises ValueError where none is whole:
    to start over is for the user to decide.
    """
    return _restore_newest(state, folder, world, before=None, complain=complain)


def go_back(state: TrainState, folder: Path, world: World, *, step: int) -> None:
    """Put `state` where it was after update `step` or before, as near as the checkpoints in `folder` allow.

    Without one so early it begins anew. Later checkpoints are removed.
    """
    world.wait()
    if not _restore_newest(state, folder, world, before=step, complain=lambda _: None):
        state.restart()
    for path in checkpoint_files(folder) if world.leads else ():
        if checkpoint_step(path) > state.step:
            path.unlink(missing_ok=True)
    world.wait()


def _restore_newest(
    state: TrainState, folder: Path, world: World, *, before: int | None, complain: Callable[[str], None]
) -> bool:
    """The leading process chooses the checkpoint, so that all take the same."""
    chosen = ""
    if world.leads:
        files = [path for path in checkpoint_files(folder) if before is None or checkpoint_step(path) <= before]
        for path in files:
            try:
                _restore(state, path)
            except Damaged as error:
                complain(str(error))
            else:
                chosen = path.name
                break
        if files and not chosen:
            raise ValueError(
                f"none of the {len(files)} checkpoints in {folder} is whole; remove that folder to train anew, "
                f"or take the best weights so far, model.safetensors beside it"
            )
    chosen = world.agree(chosen)
    if chosen and not world.leads:
        _restore(state, folder / chosen)
    return bool(chosen)


def _restore(state: TrainState, path: Path) -> None:
    state.restore(read_checkpoint(path, limit_bytes=state.largest_checkpoint_bytes()))
