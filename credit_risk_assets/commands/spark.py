"""`credit-risk spark`: Spark servers on this machine, for the engines `cluster` and `remote`."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import typer

from credit_risk_assets.commands.console import console, current_settings, fail

app = typer.Typer(help="Spark servers on this machine: a cluster, and a Connect server.", no_args_is_help=True)

Kind = Literal["cluster", "connect"]


@app.command()
def start(
    kind: Annotated[Kind, typer.Argument(help="A standalone cluster, or a Spark Connect server on `spark.master`.")],
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="7077 for a cluster, 15002 for Connect.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Workers of the cluster.")] = 2,
    cores: Annotated[int, typer.Option(min=1, help="Cores of each worker.")] = 1,
    memory: Annotated[str, typer.Option(help="Memory of each worker; its executor needs 1g at least.")] = "1g",
) -> None:
    """Start servers that listen on the loopback address, and say which settings use them."""
    from credit_risk_assets.resources import spark_servers
    from credit_risk_assets.resources.spark import EngineError

    settings = current_settings()
    settings.make_home()
    began = time.monotonic()
    try:
        if kind == "cluster":
            size = spark_servers.ClusterSize(workers, cores, memory)
            url = spark_servers.start_cluster(settings, size, port or spark_servers.MASTER_PORT)
            shown = f"CREDIT_RISK__SPARK__ENGINE=cluster CREDIT_RISK__SPARK__MASTER={url}"
        else:
            url = spark_servers.start_connect(settings, port or spark_servers.CONNECT_PORT)
            shown = f"CREDIT_RISK__SPARK__ENGINE=remote CREDIT_RISK__SPARK__REMOTE={url}"
    except EngineError as error:
        raise fail(str(error)) from None
    console.print(f"{kind} at {url} after {time.monotonic() - began:.1f} s; use it with", markup=False)
    console.print(f"  export {shown}", markup=False, soft_wrap=True)


@app.command()
def stop(kind: Annotated[Kind, typer.Argument(help="What to end.")]) -> None:
    """End the servers of a kind that this home has started."""
    from credit_risk_assets.resources import spark_servers

    ended = spark_servers.stop(current_settings(), kind)
    console.print(f"{kind}: {len(ended)} processes ended", markup=False)


@app.command()
def status() -> None:
    """List the servers that this home has started; exit 1 where none runs."""
    from credit_risk_assets.resources import spark_servers

    kinds: tuple[Kind, ...] = ("cluster", "connect")
    running = [server for kind in kinds for server in spark_servers.servers(current_settings(), kind)]
    for server in running:
        console.print(f"{server.name:10} {server.address:32} process {server.pid}", markup=False)
    if not running:
        console.print("no Spark server of this home runs", markup=False)
        raise typer.Exit(1)
