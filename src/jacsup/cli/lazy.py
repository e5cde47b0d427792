"""Names from modules that import torch or numpy, imported at first use so that --help answers at once."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

NAMES = {
    "DATA_SETS": "jacsup.data",
    "ColumnChoice": "jacsup.data.columns",
    "ImageSource": "jacsup.data.plan",
    "find_download": "jacsup.data",
    "COMPARISONS": "jacsup.baselines.compare",
    "DETAIL": "jacsup.detail",
    "Editor": "jacsup.edit",
    "GRID": "jacsup.tuning",
    "SUPERVISED_GRID": "jacsup.tuning",
    "all_results": "jacsup.baselines.compare",
    "attribute_scores": "jacsup.metrics.table",
    "cache_folder": "jacsup.data",
    "current_metrics": "jacsup.evaluate",
    "download": "jacsup.data.download",
    "downloaded": "jacsup.data.download",
    "draw_trials": "jacsup.tuning",
    "columns_of": "jacsup.data.plan",
    "draw_samples": "jacsup.report.attribute_plots",
    "earlier_results": "jacsup.photo",
    "examine": "jacsup.data.check",
    "seconds_of_training": "jacsup.training.cost",
    "encoded": "jacsup.photo",
    "evaluate": "jacsup.evaluate",
    "export": "jacsup.export",
    "find_data": "jacsup.data.of_run",
    "find_siblings": "jacsup.report.siblings",
    "flat_scores": "jacsup.metrics.table",
    "hold_out": "jacsup.tuning",
    "is_first_started": "jacsup.distributed",
    "load_dataset": "jacsup.data",
    "load_prepared": "jacsup.data.prepared",
    "metric_of": "jacsup.metrics.table",
    "model_file": "jacsup.models",
    "num_started": "jacsup.distributed",
    "opaque": "jacsup.photo",
    "photo_endings": "jacsup.photo",
    "points": "jacsup.baselines.frontier",
    "prepare_celeba": "jacsup.data.celeba",
    "prepare_once": "jacsup.data.prepare",
    "preview": "jacsup.edit",
    "push": "jacsup.hub",
    "read_assignment": "jacsup.edit",
    "rare_attributes": "jacsup.data.dataset",
    "read_manifest": "jacsup.data.prepared",
    "run_comparison": "jacsup.baselines.compare",
    "search": "jacsup.tuning",
    "serve": "jacsup.serve",
    "side_by_side": "jacsup.edit",
    "spec_of": "jacsup.data",
    "stage_scores": "jacsup.metrics.table",
    "table_rows": "jacsup.baselines.frontier",
    "train": "jacsup.training.loop",
    "write_comparison": "jacsup.baselines.frontier",
    "write_report": "jacsup.report",
}

if TYPE_CHECKING:
    # The same names once more, for type checkers and editors.
    from jacsup.baselines.compare import COMPARISONS as COMPARISONS
    from jacsup.baselines.compare import all_results as all_results
    from jacsup.baselines.compare import run_comparison as run_comparison
    from jacsup.baselines.frontier import points as points
    from jacsup.baselines.frontier import table_rows as table_rows
    from jacsup.baselines.frontier import write_comparison as write_comparison
    from jacsup.data import DATA_SETS as DATA_SETS
    from jacsup.data import cache_folder as cache_folder
    from jacsup.data import find_download as find_download
    from jacsup.data import load_dataset as load_dataset
    from jacsup.data import spec_of as spec_of
    from jacsup.data.celeba import prepare_celeba as prepare_celeba
    from jacsup.data.check import examine as examine
    from jacsup.data.columns import ColumnChoice as ColumnChoice
    from jacsup.data.dataset import rare_attributes as rare_attributes
    from jacsup.data.download import download as download
    from jacsup.data.download import downloaded as downloaded
    from jacsup.data.of_run import find_data as find_data
    from jacsup.data.plan import ImageSource as ImageSource
    from jacsup.data.plan import columns_of as columns_of
    from jacsup.data.prepare import prepare_once as prepare_once
    from jacsup.data.prepared import load_prepared as load_prepared
    from jacsup.data.prepared import read_manifest as read_manifest
    from jacsup.detail import DETAIL as DETAIL
    from jacsup.distributed import is_first_started as is_first_started
    from jacsup.distributed import num_started as num_started
    from jacsup.edit import Editor as Editor
    from jacsup.edit import preview as preview
    from jacsup.edit import read_assignment as read_assignment
    from jacsup.edit import side_by_side as side_by_side
    from jacsup.evaluate import current_metrics as current_metrics
    from jacsup.evaluate import evaluate as evaluate
    from jacsup.export import export as export
    from jacsup.hub import push as push
    from jacsup.metrics.table import attribute_scores as attribute_scores
    from jacsup.metrics.table import flat_scores as flat_scores
    from jacsup.metrics.table import metric_of as metric_of
    from jacsup.metrics.table import stage_scores as stage_scores
    from jacsup.models import model_file as model_file
    from jacsup.photo import earlier_results as earlier_results
    from jacsup.photo import encoded as encoded
    from jacsup.photo import opaque as opaque
    from jacsup.photo import photo_endings as photo_endings
    from jacsup.report import write_report as write_report
    from jacsup.report.attribute_plots import draw_samples as draw_samples
    from jacsup.report.siblings import find_siblings as find_siblings
    from jacsup.serve import serve as serve
    from jacsup.training.cost import seconds_of_training as seconds_of_training
    from jacsup.training.loop import train as train
    from jacsup.tuning import GRID as GRID
    from jacsup.tuning import SUPERVISED_GRID as SUPERVISED_GRID
    from jacsup.tuning import draw_trials as draw_trials
    from jacsup.tuning import hold_out as hold_out
    from jacsup.tuning import search as search
else:

    def __getattr__(name: str) -> Any:
        if name not in NAMES:
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        return getattr(importlib.import_module(NAMES[name]), name)
