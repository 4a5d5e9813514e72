"""Records of an event file that are no curves: HPARAMS, the layout of Custom Scalars, a text."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

# Chart of the Custom Scalars page -> regular expressions of its tags. Agents without a planner's
# prediction have their own in the last chart. TensorBoard shows a chart twice if its tags differ
# between runs, so only the loss does: latent models have no held-out loss, and the training loss of
# a Gaussian is on another scale.
FIRST_CHARTS = {
    "Evaluation return": ["eval/return$"],
    "Training return": ["train/return$"],
    "Model error and baseline (no change)": ["model/error_k1$", "model/baseline_k1$"],
}
HELD_OUT_LOSS = {"Model loss (held out)": ["model/holdout_loss$"]}
LATENT_LOSS = {"Model loss (training)": ["model/train_loss$"]}
LAST_CHARTS = {
    "Coverage (calibrated: 0.68)": ["model/coverage_1sigma$"],
    "Optimism gap, or predicted return": [
        "planner/optimism_gap$", "agent/imagined_return$", "agent/q_real$",
    ],
}  # fmt: skip
# Columns of the HPARAMS page, in this order.
METRICS = (
    "eval/return", "train/return", "model/error_k1", "model/baseline_k1", "model/coverage_1sigma",
    "planner/optimism_gap", "time/decision_ms", "time/update_ms",
)  # fmt: skip


def layout_summary(latent_model: bool) -> Any:
    """Return the record with the layout of the Custom Scalars page.

    Args:
        latent_model: whether the run's model is latent and so has no held-out loss.
    """
    from torch.utils.tensorboard.summary import custom_scalars

    charts = FIRST_CHARTS | (LATENT_LOSS if latent_model else HELD_OUT_LOSS) | LAST_CHARTS
    layout = {"Overview": {title: ["Multiline", tags] for title, tags in charts.items()}}
    return custom_scalars(layout)  # type: ignore[no-untyped-call]


def text_summary(tag: str, yaml: str) -> Any:
    """Return the record of YAML on the Text page."""
    from torch.utils.tensorboard.summary import text

    summary = text(tag, f"```yaml\n{yaml}```")  # type: ignore[no-untyped-call]
    summary.value[0].tag = tag  # torch appends "/text_summary"
    return summary


def hparams_summaries(hparams: Mapping[str, object], differing: Collection[str]) -> list[Any]:
    """Return the records of the HPARAMS page: its columns, the run's start, the run's end.

    TensorBoard takes the columns from one of the runs. Their metrics are the same in all runs; of
    the settings, those of the groups and the seed are.

    Args:
        hparams: the settings by which runs are compared.
        differing: those that differ between the jobs of a sweep; their columns come first.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2 as api
    from tensorboard.plugins.hparams import metadata as names
    from tensorboard.plugins.hparams import plugin_data_pb2 as data

    values = {key: _hparam(key, value) for key, value in hparams.items()}
    columns = api.Experiment(
        hparam_infos=[
            api.HParamInfo(
                name=key,
                type=api.DATA_TYPE_STRING if isinstance(value, str) else api.DATA_TYPE_FLOAT64,
                differs=key in differing,
            )
            for key, value in values.items()
        ],
        metric_infos=[api.MetricInfo(name=api.MetricName(tag=tag)) for tag in METRICS],
    )
    start = data.SessionStartInfo(start_time_secs=time.time())
    for key, value in values.items():
        if isinstance(value, str):
            start.hparams[key].string_value = value
        else:
            start.hparams[key].number_value = value
    end = data.SessionEndInfo(status=api.STATUS_SUCCESS)
    records = {
        names.EXPERIMENT_TAG: data.HParamsPluginData(experiment=columns),
        names.SESSION_START_INFO_TAG: data.HParamsPluginData(session_start_info=start),
        names.SESSION_END_INFO_TAG: data.HParamsPluginData(session_end_info=end),
    }
    return [
        Summary(
            value=[
                Summary.Value(
                    tag=tag,
                    metadata=names.create_summary_metadata(content),
                    tensor=names.NULL_TENSOR,
                )
            ]
        )
        for tag, content in records.items()
    ]


def _hparam(key: str, value: object) -> float | str:
    """Return `value` as TensorBoard can show it; booleans and None as YAML writes them.

    The seed is a text: TensorBoard writes numbers with four decimals.
    """
    if isinstance(value, bool | None):
        return {True: "true", False: "false", None: "null"}[value]
    return value if isinstance(value, int | float) and key != "seed" else str(value)
