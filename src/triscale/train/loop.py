"""The training loop: updates, evaluations, checkpoints, and what to do when something goes wrong."""

import gc
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from torch import Tensor

from triscale.data.dataset import ImageDataset
from triscale.data.transform import TrainTransform
from triscale.models.card import ModelCard
from triscale.models.files import network_with, save_model
from triscale.models.inputs import Normalise
from triscale.train.checkpoint import CheckpointWriter
from triscale.train.evaluate import Judgement, nearly
from triscale.train.loader import MicroBatch, shares, train_batches
from triscale.train.log import read_log
from triscale.train.objective import target
from triscale.train.recipe import Balance, Objective
from triscale.train.recovery import go_back, resume
from triscale.train.schedule import rate
from triscale.train.setting import Setting, callable_network, judge
from triscale.train.state import RATE_CUT, TrainState
from triscale.train.statistics import RunningStatistics
from triscale.train.step import Tally, Updater
from triscale.train.stopping import Stopped
from triscale.train.tuning import let_learn

MAX_ROLLBACKS: Final = 3
"""After so many losses that were not finite, something is wrong that a lower learning rate does not mend."""


class Diverged(ValueError):
    """The loss stopped being finite again and again."""


class _NotFinite(Exception):
    """The loss is infinite or no number."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step
        """The first update, counted from 1, whose loss may have been so."""


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
        self,
        setting: Setting,
        train_set: ImageDataset,
        held_out: ImageDataset | None,
        card: ModelCard,
        *,
        start: Mapping[str, Tensor] | None = None,
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
        self.state = TrainState(recipe, setting.device, start=start)
        self.starts_trained = start is not None
        self.first_learning = -1
        self.named: set[str] = set()
        self.new_broken: list[tuple[str, str]] = []
        self.updater = Updater(
            model=self.state.network,
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
            target=target(recipe, train_set.labels, setting.device),
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
            precision=setting.resources.precision_on(setting.device).value,
            processes=setting.world.size,
        )

    def run(self) -> bool:
        """Train to the end; returns False where a request to stop came first.

        Raises Diverged where the loss stays infinite, OSError where a file cannot be written.
        """
        folder, resources = self.setting.folder, self.setting.resources
        self._resume()
        reach = self.look_every * 2**MAX_ROLLBACKS
        with CheckpointWriter(folder.checkpoints, keep=resources.keep_checkpoints, reach=reach) as writer:
            while True:
                try:
                    return self._train(writer)
                except Stopped:
                    self._save(writer)
                    writer.wait()
                    self._note("stopped")
                    return False
                except _NotFinite as failure:
                    failed_at = failure.step
                writer.wait()
                self._roll_back(failed_at)
                self.first_learning = -1

    def _train(self, writer: CheckpointWriter) -> bool:
        """Raises Stopped where the state is whole and somebody asked to stop."""
        state, setting = self.state, self.setting
        self._judge_start()
        self._end_epoch(writer)
        batches = _Waiting(self._train_batches())
        saved_s = looked_s = time.perf_counter()
        while not self.ended:
            self._let_learn()
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
            if stop:
                raise Stopped
            if ends_epoch:
                self._end_epoch(writer)
                looked_s = time.perf_counter()
            if due:
                self._save(writer)
                saved_s = time.perf_counter()
        if self.state.step < self.total_steps:
            best = self.state.progress.best_step // self.steps_per_epoch
            self._note("ended early", epoch=self.state.step // self.steps_per_epoch, best_epoch=best)
        return True

    @property
    def ended(self) -> bool:
        """Whether no update is left to do, be it that the held-out images were no better served for too long."""
        return self.state.step >= self.total_steps or self.gave_up

    @property
    def gave_up(self) -> bool:
        """Whether the recipe's patience is at its end."""
        patience, progress = self.setting.recipe.patience, self.state.progress
        if patience is None or progress.best_score < 0 or progress.epoch_images:
            return False
        return self.state.step - progress.best_step >= patience * self.steps_per_epoch

    def _let_learn(self) -> None:
        """Have those stages learn that should by now."""
        network, tuning = self.state.network, self.setting.recipe.fine_tuning
        first = tuning.first_learning_stage(len(network.stages), epoch=self.state.step / self.steps_per_epoch)
        if first == self.first_learning:
            return
        self.first_learning = first
        # A wrapper for several processes listens to the gradients until it is gone.
        self.updater = replace(self.updater, model=network)
        gc.collect()
        let_learn(network, tuning, first=first)
        self.updater = replace(
            self.updater, model=callable_network(network, self.setting), statistics=RunningStatistics(network)
        )

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
            evenly=recipe.balance is Balance.SAMPLING,
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
        """Read the tally, which waits for the device, and tell what it says.

        Raises _NotFinite, so that nothing that is not finite gets into a checkpoint or a model.
        """
        seen, progress = self.updater.tally.take(self.setting.world), self.state.progress
        self._tell_broken()
        if not math.isfinite(seen.loss_sum):
            raise _NotFinite(self.state.step)
        if not self.state.is_finite():
            # Its last update alone can have done that: the next one's loss would tell.
            raise _NotFinite(self.state.step + 1)
        progress.epoch_loss += seen.loss_sum
        progress.epoch_correct += seen.correct
        progress.epoch_images += seen.images
        self._note(
            "train",
            epoch=round(self.state.step / self.steps_per_epoch, 4),
            loss=seen.loss_sum / seen.images,
            **{self._correct_name: seen.correct / seen.images},
            learning_rate=learning_rate,
            images_per_s=round(seen.images / elapsed_s, 2),
            waiting=round(waited_s / elapsed_s, 4),
        )

    @property
    def _correct_name(self) -> str:
        return "top1" if self.setting.recipe.objective is Objective.ONE_LABEL else "exact_match"

    def _tell_broken(self) -> None:
        broken = self.setting.world.gather(self.new_broken)
        self.new_broken = []
        self.state.progress.broken_images += len(broken)
        self._name_broken(broken)

    def _name_broken(self, broken: Iterable[tuple[str, str]]) -> None:
        """Log each broken image the first time."""
        for name, reason in broken:
            if name not in self.named:
                self.named.add(name)
                self._note("broken image", image=name, reason=reason)

    def _end_epoch(self, writer: CheckpointWriter) -> None:
        """Judge, tell and save what an epoch led to; does nothing within one.

        Where that is stopped, the images counted in the epoch tell that its end is still to come.
        """
        state, recipe = self.state, self.setting.recipe
        progress = state.progress
        if state.step % self.steps_per_epoch or not progress.epoch_images:
            return
        epoch = state.step // self.steps_per_epoch
        values: dict[str, Any] = {
            "epoch": epoch,
            "train_loss": progress.epoch_loss / progress.epoch_images,
            f"train_{self._correct_name}": progress.epoch_correct / progress.epoch_images,
        }
        if self.held_out is None:
            self._keep({"epoch": epoch})
        elif epoch % recipe.evaluate_every_epochs == 0 or state.step == self.total_steps:
            values |= self._consider(self._judge(self.held_out), epoch=epoch)
        progress.epoch_loss, progress.epoch_correct, progress.epoch_images = 0.0, 0, 0
        self._note("epoch", **values)
        # Epochs shorter than it takes to write a checkpoint do not wait for it.
        if writer.idle or self.ended:
            self._save(writer)

    def _judge_start(self) -> None:
        """Judge the trained weights that a run starts from: they may be the best it ever has."""
        progress = self.state.progress
        if self.starts_trained and self.held_out is not None and not self.state.step and progress.best_score < 0:
            self._note("start", epoch=0, **self._consider(self._judge(self.held_out), epoch=0))

    def _consider(self, found: Judgement, *, epoch: int) -> dict[str, Any]:
        """Keep the weights that were judged where they are the best so far; returns what the log says of them."""
        metric, progress = self.setting.recipe.metric, self.state.progress
        # Weights that are finite can still overflow.
        finite = math.isfinite(found.loss)
        score, loss = (found.score(metric), found.calibrated_loss) if finite else (0.0, sys.float_info.max)
        figures = {**found.figures("minival", metric), "minival_calibrated_loss": loss}
        progress.top_score = max(progress.top_score, score)
        near = nearly(progress.top_score, images=found.images, margin=self.setting.recipe.metric_margin)
        if score >= near and (progress.best_score < near or loss < progress.best_loss):
            progress.best_score, progress.best_loss, progress.best_step = score, loss, self.state.step
            self._keep({"epoch": epoch, **figures, **found.settings})
        best = {"best_minival": progress.best_score, "best_epoch": progress.best_step // self.steps_per_epoch}
        return {**figures, **best}

    def _judge(self, dataset: ImageDataset) -> Judgement:
        """Evaluate the weights that would be kept now."""
        network = network_with(self.setting.recipe.network, self.state.judged_tensors(), where="the average")
        found = judge(network, dataset, self.setting)
        self.name_broken(found)
        return found

    def name_broken(self, found: Judgement) -> None:
        """Log the images that an evaluation could not read."""
        self._name_broken(self.setting.world.gather(list(found.broken)))

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
        setting = self.setting

        def complain(message: str) -> None:
            self._note("damaged checkpoint", message=message)

        resumed = resume(self.state, setting.folder.checkpoints, setting.world, complain=complain)
        if resumed or any(row["step"] for row in self._logged()):
            self._note("resumed")
        self._remember_named()

    def _logged(self) -> list[dict[str, Any]]:
        return read_log(self.setting.folder.log) if self.setting.world.leads else []

    def _remember_named(self) -> None:
        """The broken images that the log names; what came after the present update no longer counts."""
        self.named = {row["image"] for row in self._logged() if row["event"] == "broken image" and "image" in row}

    def _roll_back(self, failed_at: int) -> None:
        """Go back to before the loss went wrong, and take smaller steps from there on.

        From where on depends on nothing but the update whose loss was not finite, to the next look, so a run that is
        stopped and resumed in between ends with the same weights. The best weights so far stay the best: they were
        judged before.
        """
        state, setting = self.state, self.setting
        kept = state.progress
        if len(kept.rate_cuts) == MAX_ROLLBACKS:
            raise Diverged(
                f"the loss was not finite {MAX_ROLLBACKS + 1} times, the last time before update {failed_at}; begin "
                f"anew with a lower schedule.base_rate, and look at the images with `triscale check`"
            )
        looks = -(-failed_at // self.look_every)
        cut = max(0, (looks - 2 ** (len(kept.rate_cuts) + 1)) * self.look_every)
        go_back(state, setting.folder.checkpoints, setting.world, step=cut)
        state.progress.rate_cuts = (*kept.rate_cuts, cut)
        best = (kept.best_score, kept.best_loss, kept.best_step)
        state.progress.best_score, state.progress.best_loss, state.progress.best_step = best
        self._note(
            "rolled back", failed_at=failed_at, rate_factor=RATE_CUT ** len(state.progress.rate_cuts), from_step=cut
        )
        self._remember_named()
