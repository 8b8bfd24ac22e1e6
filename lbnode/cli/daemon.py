"""What the two daemons' commands share: logging, and errors as one line with a remedy instead of a traceback."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Annotated

import structlog
import typer

from bgp.errors import BgpError
from lbnode.daemon.errors import DaemonError
from lbnode.dataplane.errors import DataPlaneError
from lbnode.metrics.exporter import MetricsError
from lbnode.netdev.errors import NetdevError
from lbnode.rpc.errors import RpcError
from lbnode.settings.errors import BadSettingsError
from lbnode.store.tree import StoreError

LogAsJson = Annotated[
    bool, typer.Option("--json/--no-json", help="Log as JSON lines.", envvar="EVENKEEL_LOG_JSON")
]

FAILED = 1
BAD_SETTINGS = 2


def configure_logging(as_json: bool, level: int = logging.INFO) -> None:
    """Log to standard error from `level` on: lines for people, or JSON; what libraries warn of included."""
    render: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), sort_keys=False, exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("kazoo").setLevel(logging.ERROR)


@contextlib.contextmanager
def report_failures() -> Iterator[None]:
    """Turn an expected failure into its message on standard error and an exit status."""
    try:
        yield
    except BadSettingsError as error:
        for complaint in str(error).splitlines():
            typer.echo(f"error: {complaint}", err=True)
        raise typer.Exit(BAD_SETTINGS) from error
    except (BgpError, DaemonError, DataPlaneError, MetricsError, NetdevError, RpcError, StoreError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(FAILED) from error
    except PermissionError as error:
        typer.echo(f"error: {error}: run as root, or with CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON", err=True)
        raise typer.Exit(FAILED) from error
