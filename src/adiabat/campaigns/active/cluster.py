"""Dask clusters from a section of the configuration. Everything of dask is imported when it is asked for."""

from importlib import import_module
from pathlib import Path
from typing import Any

from adiabat.campaigns.active.config import ClusterConfig
from adiabat.core.errors import ConfigError, MissingExtraError

_ANY_PORT = ":0"
"""Of the scheduler's web server: several campaigns may share a machine, where dask's own choice is soon taken."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def make_cluster(config: ClusterConfig, directory: Path, name: str) -> Any:
    """Start a cluster, or ask a batch system for one; None where one runs already and only its address is given.

    Args:
        config: what is wanted.
        directory: the campaign's, for files of workers.
        name: of the campaign, for the batch system.

    Raises:
        MissingExtraError: the package for this kind is not installed.
        ConfigError: an option that this kind of cluster does not know.
    """
    require_dask()
    if config.kind == "address":
        return None
    options = dict(config.options)
    try:
        if config.kind == "local":
            return _local(config, directory, options)
        if config.kind == "kubernetes":
            return _kubernetes(config, name, options)
        cluster = batch_cluster(config, directory, name)
        cluster.scale(jobs=config.workers)
        return cluster
    except (TypeError, ValueError, RuntimeError) as error:  # LocalCluster wraps what its workers refuse
        raise ConfigError(
            f"a {config.kind} cluster with the options {sorted(options)}, which dask does not start ({error})",
            expected="arguments of its class in dask",
            suggestion="see docs/how-to/cluster.md and the documentation of dask",
        ) from error


def require_dask() -> None:
    """Refuse to go on without dask.

    Raises:
        MissingExtraError: it is not installed.
    """
    _import("distributed", "dask", "dask")


def _import(module: str, package: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError.of(package, extra) from error


def batch_cluster(config: ClusterConfig, directory: Path, name: str) -> Any:
    """A cluster of batch jobs, of which none is submitted yet; its ``job_script()`` tells what one does.

    A job has one worker that does one task at a time, with all its cores.

    Raises:
        MissingExtraError: dask-jobqueue is not installed.
    """
    jobqueue = _import("dask_jobqueue", "dask-jobqueue", "dask-jobqueue")
    options = dict(config.options)
    threads = [f"export {variable}={config.cores}" for variable in _THREADS]
    options["job_script_prologue"] = [*threads, *options.get("job_script_prologue", ())]
    options.setdefault("log_directory", str(directory / "cluster"))
    options.setdefault("local_directory", str(directory / "cluster"))
    options["scheduler_options"] = {"dashboard_address": _ANY_PORT, **options.get("scheduler_options", {})}
    common = {"queue": config.queue, "cores": 1, "processes": 1, "memory": config.memory, "job_name": name, **options}
    if config.walltime is not None:
        common["walltime"] = config.walltime
    if config.kind == "slurm":
        return jobqueue.SLURMCluster(job_cpu=config.cores, **common)
    resources = f"select=1:ncpus={config.cores}:mem={config.memory}"
    return jobqueue.PBSCluster(**{"resource_spec": resources, **common})


def _local(config: ClusterConfig, directory: Path, options: dict[str, Any]) -> Any:
    defaults = {
        "n_workers": config.workers,
        "threads_per_worker": 1,
        "processes": True,
        "memory_limit": config.memory,
        "dashboard_address": _ANY_PORT,
        "local_directory": str(directory / "cluster"),
        "env": {variable: str(config.cores) for variable in _THREADS},
        "silence_logs": 50,  # what matters is said by the campaign
    }
    return _import("distributed", "dask", "dask").LocalCluster(**{**defaults, **options})


def _kubernetes(config: ClusterConfig, name: str, options: dict[str, Any]) -> Any:
    operator = _import("dask_kubernetes.operator", "dask-kubernetes", "dask-kubernetes")
    limits = {"cpu": str(config.cores)} | ({"memory": config.memory} if config.memory else {})
    defaults = {
        "name": name.lower(),
        "n_workers": config.workers,
        "resources": {"requests": limits, "limits": limits},
        "env": {variable: str(config.cores) for variable in _THREADS},
        "worker_command": ["dask", "worker", "--nthreads", "1"],
    }
    return operator.KubeCluster(**{**defaults, **options})
