"""The choices of the group `callbacks`, and `stop_at_return`."""

from __future__ import annotations

import inspect
from typing import Any

from omegaconf import OmegaConf

from mbrl_cli.callbacks.base import Callback
from mbrl_cli.callbacks.callback_list import CallbackList
from mbrl_cli.callbacks.pause_at import PauseAt
from mbrl_cli.callbacks.stop_at_return import StopAtReturn
from mbrl_cli.config.argument_check import check_arguments
from mbrl_cli.config.failing_calls import failing_call
from mbrl_cli.config.targets import import_target
from mbrl_cli.errors import UserError
from mbrl_cli.run_settings import RunSettings


def make_callbacks(chosen: Any, settings: RunSettings, pause_at: int | None = None) -> CallbackList:
    """Build the callbacks of a run.

    Args:
        chosen: the value of `callbacks` in a config: name -> class and arguments.
        settings: of the run.
        pause_at: the step of the evaluation at which the run is paused; None: it runs to its end.

    Raises:
        UserError: if a class cannot be imported or built, or is no callback.
    """
    callbacks: dict[str, Callback] = {}
    if settings.stop_at_return is not None:
        callbacks["stop_at_return"] = StopAtReturn(settings.stop_at_return)
    plain: Any = chosen or {}
    if OmegaConf.is_config(plain):
        plain = OmegaConf.to_container(plain, resolve=True)
    for name, given in plain.items():
        arguments = dict(given) if isinstance(given, dict) else {}
        target = arguments.pop("_target_", None)
        if target is None:
            raise UserError(
                f"callbacks.{name}: has no _target_; the file of a callback has the lines "
                f"NAME: and below it, indented, _target_: module.Class"
            )
        kind = import_target("callbacks", target)
        if not (inspect.isclass(kind) and issubclass(kind, Callback)):
            base = f"{Callback.__module__}.{Callback.__name__}"
            raise UserError(f"callbacks.{name}={target}: must be a class derived from {base}")
        values = check_arguments(f"callbacks.{name}", kind, arguments)
        with failing_call("callbacks", kind.__name__, "cannot be built"):
            callbacks[name] = kind(**values)
    if pause_at is not None:
        callbacks["pause_at"] = PauseAt(pause_at)
    return CallbackList(callbacks)
