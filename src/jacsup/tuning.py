"""The paper's search over loss weights: train with each choice and judge it on held-out training images."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from jacsup.config import Arrays, Recipe, Stage
from jacsup.data.dataset import Dataset, fingerprint_of
from jacsup.jsonable import set_field, to_dict
from jacsup.objectives import updates
from jacsup.report.sheets import PALETTE, SOFT, log_scale, plot, save
from jacsup.run import InUseError, Run
from jacsup.training.loop import DivergedError, train

# A tenth of the training images is held out, but no more than this.
MOST_HELD_OUT = 10_000
# From the sixth trial and the third stage on, a trial worse than the median is pruned.
NUM_WARM_UP_TRIALS = 5
NUM_WARM_UP_STAGES = 2
ALL_WEIGHTS = "stages.weights."
# The default grids, over the weights of eq. 9.
GRID = {"stages.weights.y": (0.1, 0.25, 1.0), "stages.weights.jacobian": (0.1, 0.3, 1.0)}
SUPERVISED_GRID = {"stages.weights.y": (0.1, 1.0, 10.0), "stages.weights.jacobian": (12.5, 25.0, 50.0, 100.0)}

Values = Mapping[str, int | float]
Grid = Mapping[str, Sequence[int | float]]


@dataclass(frozen=True)
class Trial:
    """One choice of values and its result.

    Attributes:
        values: The numbers that were chosen, by recipe field.
        state: complete, pruned, fail or running.
        num_stages: How many stages were trained.
        mse: Mean squared error of the last trained stage on the held-out images.
        control: Its swap score on these images or, with attributes, its edit accuracy at strength 2.
    """

    values: Values
    state: str
    num_stages: int = 0
    mse: float | None = None
    control: float | None = None

    def loss(self, floor: float) -> float:
        """Return what the search minimizes; see `loss_of`.

        Args:
            floor: The lowest control that is accepted.
        """
        return float("inf") if self.mse is None or self.control is None else loss_of(self.mse, self.control, floor)


def loss_of(mse: float, control: float, floor: float) -> float:
    """Return MSE and control as one number: the MSE if control reaches the floor, else a number above any MSE.

    Args:
        mse: Mean squared error, below 1.
        control: Swap score or edit accuracy, from 0 to 1.
        floor: The lowest control that is accepted.
    """
    return mse if control >= floor else 1 + floor - control


def hold_out(data: Dataset) -> Dataset:
    """Split the training images: the last tenth is held out to judge on, the others are for training.

    Args:
        data: Data set; its test images are not used.

    Returns:
        A data set whose test images are the ones held out.

    Raises:
        ValueError: There are fewer than 10 training images.
    """
    count = min(len(data.train) // 10, MOST_HELD_OUT)
    if not count:
        raise ValueError(f"there are {len(data.train)} training images; must be at least 10 for a search")
    train, test = data.train.rows(slice(-count)), data.train.rows(slice(-count, None))
    digest = hashlib.sha256(f"{to_dict(data.config)} {fingerprint_of(data)}".encode())
    return replace(data, train=train, test=test, config=Arrays(sha256=digest.hexdigest()))


def with_values(recipe: Recipe, values: Values) -> Recipe:
    """Return the recipe with fields changed.

    Args:
        recipe: The recipe to change.
        values: Numbers by recipe field; `stages.weights.NAME` changes only the stages whose loss has that term.

    Raises:
        ValueError: The recipe has no such field, or the value is not valid for it.
    """
    for field, value in values.items():
        name = field.removeprefix(ALL_WEIGHTS)
        paths = [field]
        if field.startswith(ALL_WEIGHTS):
            # The other stages stay unchanged, so that trials share them.
            paths = [f"stages.{i}.weights.{name}" for i, stage in enumerate(recipe.stages) if _has_term(stage, name)]
        for path in paths or [field]:
            recipe = set_field(recipe, path, value)
    return recipe


def _has_term(stage: Stage, name: str) -> bool:
    if name not in vars(stage.weights):
        return False
    weighed = replace(stage, weights=replace(stage.weights, **{name: 1.0}))
    return any(name in update.weights for update in updates(weighed, 1))


def search(
    recipe: Recipe,
    data: Dataset,
    grid: Grid,
    out: Path,
    *,
    floor: float,
    storage: str = "",
    num_trials: int | None = None,
    device: str = "auto",
) -> list[Trial]:
    """Try every choice of a grid that has no result yet, each in its own folder.

    A choice that was interrupted resumes where it stopped.

    Args:
        recipe: The recipe to train.
        data: Data set with images held out, as `hold_out` returns it.
        grid: The numbers to try, by recipe field; see `with_values`.
        out: Folder of the runs.
        floor: The lowest control that is accepted; among choices that reach it, the lowest MSE is best.
        storage: URL of a database, which many machines may share; defaults to a file in `out`.
        num_trials: How many choices to try in this call; defaults to all that are left.
        device: auto, cpu, cuda, cuda:N or mps.

    Returns:
        The best trial of each choice that was ever tried, best first.

    Raises:
        ValueError: The recipe has no such field, the data have neither classes nor attributes to judge by, or the
            storage cannot be used.
    """
    if (data.train.attributes if recipe.supervised else data.train.labels) is None:
        raise ValueError(
            f"recipe '{recipe.name}' is judged by classes or attributes, but the images have none; use labelled images"
        )
    choices = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    recipes = [with_values(recipe, values) for values in choices]
    out.mkdir(parents=True, exist_ok=True)
    study = _open_study(storage or f"sqlite:///{out / 'study.db'}", _study_name(recipe, data, floor))
    # Workers start at different places. Choices that another worker seems to train come last: it may have died.
    order = random.sample(range(len(choices)), len(choices))
    left = num_trials
    for running in (True, False):
        for number in order:
            if left == 0 or _name(choices[number]) in _taken(study, running=running):
                continue
            if _try(study, recipes[number], choices[number], data, out, floor, device) and left is not None:
                left -= 1
    return _results(study, floor)


def _try(study: Any, recipe: Recipe, values: Values, data: Dataset, out: Path, floor: float, device: str) -> bool:
    """Try one choice and return True, or False if another worker has it."""
    from optuna.distributions import FloatDistribution
    from optuna.trial import TrialState

    trial = study.ask({field: FloatDistribution(value, value) for field, value in values.items()})
    state, loss = TrialState.FAIL, None
    try:
        for number, (mse, control) in enumerate(_stages(recipe, data, out / _name(values), device)):
            loss = loss_of(mse, control, floor)
            trial.set_user_attr("result", {"num_stages": number + 1, "mse": mse, "control": control})
            trial.report(loss, number)
            if trial.should_prune():
                state = TrialState.PRUNED
                return True
        state = TrialState.COMPLETE
    except InUseError:
        return False
    except DivergedError as error:
        print(error)
        trial.set_user_attr("diverged", True)
    finally:
        study.tell(trial, loss if state == TrialState.COMPLETE else None, state=state)
    return True


def _taken(study: Any, *, running: bool) -> set[str]:
    """The choices with a result and, if asked for, those that a worker is training, without interrupted ones."""
    states = {"COMPLETE", "PRUNED", *(["RUNNING"] if running else [])}
    trials = study.get_trials(deepcopy=False)
    return {_name(trial.params) for trial in trials if trial.state.name in states or "diverged" in trial.user_attrs}


def _results(study: Any, floor: float) -> list[Trial]:
    """The best trial of each choice, best first."""
    trials = [
        Trial(trial.params, trial.state.name.lower(), **trial.user_attrs.get("result", {}))
        for trial in study.get_trials(deepcopy=False)
    ]
    trials.sort(key=lambda trial: (trial.state != "complete", trial.loss(floor)))
    best_of_each = {_name(trial.values): trial for trial in reversed(trials)}
    return [trial for trial in trials if best_of_each[_name(trial.values)] is trial]


def _open_study(url: str, name: str) -> Any:
    """Create or open the study. This fails while another worker creates the tables, so it is tried several times."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.MedianPruner(NUM_WARM_UP_TRIALS, NUM_WARM_UP_STAGES)
    for seconds in (1, 2, 4, 0):
        try:
            return optuna.create_study(storage=url, pruner=pruner, study_name=name, load_if_exists=True)
        except (SQLAlchemyError, ImportError) as error:
            if not seconds:
                reason = str(error).splitlines()[0]
                raise ValueError(f"--storage {url} cannot be used ({reason}); pass another URL, or omit it") from None
            time.sleep(seconds)


def _stages(recipe: Recipe, data: Dataset, folder: Path, device: str) -> Iterator[tuple[float, float]]:
    """MSE and control after each stage of a run; each stage is trained when its item is requested."""
    for number in range(len(recipe.stages)):
        run = Run(train(recipe, data, folder, device=device, num_stages=number + 1))
        line = [line for line in run.stats() if line["stage"] == number][-1]
        control = line.get("test_edit" if recipe.supervised else "test_swap")
        if control is None:
            raise ValueError(
                "no choice can be judged: the judge recognises no attribute well enough; use more or other images"
            )
        yield line["test_mse"], control


def _name(values: Values) -> str:
    return ",".join(f"{field.removeprefix('stages.')}={value:g}" for field, value in values.items())


def _study_name(recipe: Recipe, data: Dataset, floor: float) -> str:
    """The name of the study that all grids of a recipe, its data and a floor share."""
    text = json.dumps([to_dict(recipe), to_dict(data.config), floor], sort_keys=True)
    return f"{recipe.run_name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def draw_trials(path: Path, trials: Sequence[Trial], floor: float) -> None:
    """Draw every trial's MSE against its control and mark the best one.

    Args:
        path: The image file to write.
        trials: Trials, best first; the first one must have a result.
        floor: The lowest control that is accepted, drawn as a dotted line.
    """
    figure, (axis,) = plot(1, share_x=False, height=4.4)
    for state, marker in (("complete", "o"), ("pruned", "x")):
        those = [trial for trial in trials if trial.state == state and trial.mse is not None]
        axis.plot([t.control for t in those], [t.mse for t in those], marker, color=PALETTE[0], label=state)
    best = trials[0]
    assert best.control is not None and best.mse is not None
    axis.plot([best.control], [best.mse], "o", ms=14, mfc="none", color=PALETTE[1], label=_name(best.values))
    axis.axvline(floor, color=SOFT, lw=0.8, ls=":")
    axis.set_xlabel("control: swap score or edit accuracy")
    axis.set_ylabel("MSE")
    log_scale(axis)
    axis.legend(frameon=False, fontsize=8)
    save(figure, path)
