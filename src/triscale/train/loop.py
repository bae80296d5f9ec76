"""The training loop: updates, evaluations, checkpoints, and what to do when something goes wrong."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from triscale.data.dataset import ImageDataset
from triscale.data.transform import TrainTransform
from triscale.models.card import ModelCard
from triscale.models.files import network_with, save_model
from triscale.models.inputs import Normalise
from triscale.train.checkpoint import CheckpointWriter, newest_whole
from triscale.train.evaluate import Evaluation
from triscale.train.loader import MicroBatch, shares, train_batches
from triscale.train.schedule import rate
from triscale.train.setting import Setting, callable_network, judge
from triscale.train.state import RATE_CUT, TrainState, go_back
from triscale.train.statistics import RunningStatistics
from triscale.train.step import Tally, Updater

MAX_ROLLBACKS: Final = 3
"""After so many losses that were not finite, something is wrong that a lower learning rate does not mend."""


class Diverged(ValueError):
    """The loss stopped being finite again and again."""


class _NotFinite(Exception):
    """The loss is infinite or no number."""


class _Waiting:
    """Passes batches on and adds up how long they were waited for."""

    def __init__(self, batches: Iterator[MicroBatch]) -> None:
        self._batches = batches
        self.waited_s = 0.0

    def __iter__(self) -> "_Waiting":
        return self

    def __next__(self) -> MicroBatch:
        started_s = time.perf_counter()
        batch = next(self._batches)
        self.waited_s += time.perf_counter() - started_s
        return batch


class Loop:
    """One run in this process, from its newest checkpoint to its last update or to a request to stop."""

    def __init__(
        self, setting: Setting, train_set: ImageDataset, held_out: ImageDataset | None, card: ModelCard
    ) -> None:
        recipe, world = setting.recipe, setting.world
        self.setting, self.train_set, self.held_out, self.card = setting, train_set, held_out, card
        self.steps_per_epoch = len(train_set.labels) // recipe.batch_size
        if not self.steps_per_epoch:
            raise ValueError(
                f"batch_size {recipe.batch_size} is more than the {len(train_set.labels)} images to train on; "
                f"set batch_size={max(1, len(train_set.labels) // 10)} or so"
            )
        self.total_steps = recipe.epochs * self.steps_per_epoch
        self.look_every = max(1, min(50, self.steps_per_epoch // 10))
        self.state = TrainState(recipe, setting.device)
        self.named: set[str] = set()
        self.new_broken: list[tuple[str, str]] = []
        self.updater = Updater(
            model=callable_network(self.state.network, setting),
            own=shares(
                batch_size=recipe.batch_size,
                group_images=setting.group_images,
                rank=world.rank,
                world_size=world.size,
            ),
            normalise=Normalise(recipe.preprocessing, setting.device),
            statistics=RunningStatistics(self.state.network),
            tally=Tally(setting.device),
            world=world,
            device=setting.device,
            precision=setting.resources.dtype(setting.device),
            batch_size=recipe.batch_size,
            label_smoothing=recipe.label_smoothing,
            seed=recipe.seed,
        )

    def tell_beginning(self) -> None:
        """Say what this process is about to do."""
        setting = self.setting
        self._note(
            "started",
            images=len(self.train_set.labels),
            held_out=0 if self.held_out is None else len(self.held_out.labels),
            total_steps=self.total_steps,
            steps_per_epoch=self.steps_per_epoch,
            batch_norm_images=setting.group_images,
            device=str(setting.device),
            processes=setting.world.size,
        )

    def run(self) -> bool:
        """Train to the end; returns False where a request to stop came first.

        Raises Diverged where the loss stays infinite, OSError where a file cannot be written.
        """
        folder, resources = self.setting.folder, self.setting.resources
        self._resume()
        with CheckpointWriter(folder.checkpoints, keep=resources.keep_checkpoints) as writer:
            while self.state.step < self.total_steps:
                try:
                    if not self._train(writer):
                        return False
                except _NotFinite:
                    writer.wait()
                    self._roll_back()
        return True

    def _train(self, writer: CheckpointWriter) -> bool:
        state, setting = self.state, self.setting
        batches = _Waiting(self._train_batches())
        saved_s = looked_s = time.perf_counter()
        while state.step < self.total_steps:
            learning_rate = self._rate(state.step)
            self.new_broken += self.updater.update(state, batches, rate=learning_rate)
            setting.watch("step", state.step, {"learning_rate": learning_rate})
            ends_epoch = state.step % self.steps_per_epoch == 0
            due = time.perf_counter() - saved_s > setting.resources.checkpoint_every_s
            stop, due = setting.world.any(setting.stop.signal is not None, due)
            if ends_epoch or stop or due or state.step % self.look_every == 0:
                elapsed_s = time.perf_counter() - looked_s
                self._look(learning_rate, elapsed_s=elapsed_s, waited_s=batches.waited_s)
                looked_s, batches.waited_s = time.perf_counter(), 0.0
            if ends_epoch:
                self._end_epoch()
                looked_s = time.perf_counter()
            if ends_epoch or stop or due:
                self._save(writer)
                saved_s = time.perf_counter()
            if stop and state.step < self.total_steps:
                writer.wait()
                self._note("stopped")
                return False
        return True

    def _train_batches(self) -> Iterator[MicroBatch]:
        recipe, setting = self.setting.recipe, self.setting
        return train_batches(
            self.train_set,
            TrainTransform(recipe.preprocessing, recipe.augmentation),
            self.updater.own,
            seed=recipe.seed,
            batch_size=recipe.batch_size,
            start=self.state.step,
            stop=self.total_steps,
            workers=setting.reading_workers(self.train_set),
            pinned=setting.device.type == "cuda",
        )

    def _rate(self, step: int) -> float:
        recipe = self.setting.recipe
        scheduled = rate(
            recipe.schedule,
            step=step,
            steps_per_epoch=self.steps_per_epoch,
            total_steps=self.total_steps,
            batch_size=recipe.batch_size,
        )
        return scheduled * self.state.progress.rate_factor(step)

    def _note(self, event: str, **values: Any) -> None:
        if self.setting.world.leads:
            self.setting.watch(event, self.state.step, values)

    def _look(self, learning_rate: float, *, elapsed_s: float, waited_s: float) -> None:
        """Read the tally, which waits for the device, and tell what it says."""
        seen, progress = self.updater.tally.take(self.setting.world), self.state.progress
        self._tell_broken()
        if not math.isfinite(seen.loss_sum):
            raise _NotFinite
        progress.epoch_loss += seen.loss_sum
        progress.epoch_correct += seen.correct
        progress.epoch_images += seen.images
        self._note(
            "train",
            epoch=round(self.state.step / self.steps_per_epoch, 4),
            loss=seen.loss_sum / seen.images,
            top1=seen.correct / seen.images,
            learning_rate=learning_rate,
            images_per_s=round(seen.images / elapsed_s, 2),
            waiting=round(waited_s / elapsed_s, 4),
        )

    def _tell_broken(self) -> None:
        broken = self.setting.world.gather(self.new_broken)
        self.new_broken = []
        self.state.progress.broken_images += len(broken)
        for name, reason in broken:
            if name not in self.named:
                self.named.add(name)
                self._note("broken image", image=name, reason=reason)

    def _end_epoch(self) -> None:
        state, recipe = self.state, self.setting.recipe
        progress = state.progress
        epoch = state.step // self.steps_per_epoch
        values: dict[str, Any] = {
            "epoch": epoch,
            "train_loss": progress.epoch_loss / progress.epoch_images,
            "train_top1": progress.epoch_correct / progress.epoch_images,
        }
        progress.epoch_loss, progress.epoch_correct, progress.epoch_images = 0.0, 0, 0
        if self.held_out is None:
            self._keep({"epoch": epoch})
        elif epoch % recipe.evaluate_every_epochs == 0 or state.step == self.total_steps:
            found = self._judge(self.held_out)
            values |= {"minival_top1": found.top1, "minival_top5": found.top5, "minival_loss": found.loss}
            if (found.top1, -found.loss) > (progress.best_top1, -progress.best_loss):
                progress.best_top1, progress.best_loss, progress.best_step = found.top1, found.loss, state.step
                self._keep({"epoch": epoch, "minival_top1": found.top1})
            values["best_minival_top1"] = progress.best_top1
        self._note("epoch", **values)

    def _judge(self, dataset: ImageDataset) -> Evaluation:
        """Evaluate the weights that would be kept now."""
        network = network_with(self.setting.recipe.network, self.state.judged_tensors(), where="the average")
        return judge(network, dataset, self.setting)

    def _keep(self, metrics: dict[str, Any]) -> None:
        """Write the model file."""
        if self.setting.world.leads:
            network = network_with(self.setting.recipe.network, self.state.judged_tensors(), where="the average")
            provenance = {**self.card.provenance, "step": self.state.step, **metrics}
            save_model(self.setting.folder.model, network, replace(self.card, provenance=provenance))

    def _save(self, writer: CheckpointWriter) -> None:
        if self.setting.world.leads:
            writer.write(self.state.checkpoint())

    def _resume(self) -> None:
        """Go on from the newest checkpoint that is whole, where there is one."""
        checkpoint, complaints = newest_whole(self.setting.folder.checkpoints)
        for complaint in complaints:
            self._note("damaged checkpoint", message=complaint)
        if checkpoint is not None:
            self.state.restore(checkpoint)
            self._note("resumed")

    def _roll_back(self) -> None:
        """Go back to before the loss went wrong, and take smaller steps from there on.

        From where on depends on nothing but the update at which the loss was looked at, so a run that is stopped
        and resumed in between ends with the same weights.
        """
        state, folder, world = self.state, self.setting.folder.checkpoints, self.setting.world
        cuts = state.progress.rate_cuts
        if len(cuts) == MAX_ROLLBACKS:
            raise Diverged(
                f"the loss was not finite {MAX_ROLLBACKS + 1} times, the last time before update {state.step}; "
                f"set a lower learning rate (schedule.base_rate), and look at the images with `triscale check`"
            )
        cuts = [*cuts, max(0, (-(-state.step // self.look_every) - 2 ** len(cuts)) * self.look_every)]
        failed_at, broken_images = state.step, state.progress.broken_images
        world.wait()
        go_back(state, folder, step=cuts[-1], leads=world.leads)
        world.wait()
        state.progress.rate_cuts, state.progress.broken_images = cuts, broken_images
        self._note("rolled back", failed_at=failed_at, rate_factor=RATE_CUT ** len(cuts), from_step=cuts[-1])
