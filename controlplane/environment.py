"""What the processes that run a user's code get of the control plane's environment: what they need, by its name.

A recipe runs with the rights of Driftgate's own account, so this is no wall. It keeps secrets of the control plane out
of what a process of training or serving logs, tracks or hands on to others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from bundle.installation import PRIVACY_KEY

#: of the machine: where programs are, and how they speak
_MACHINE: Final = frozenset(
    {
        "HOME", "JAVA_HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SHELL", "SSL_CERT_DIR",
        "SSL_CERT_FILE", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV",
    }
)  # fmt: skip
_LIBRARIES: Final = ("LC_", "MKL_", "OMP_", "OPENBLAS_", "PYTHON")
TRAINING: Final = ("HADOOP_", "MLFLOW_", "OBSERVABILITY_", "PIPELINE_", "PYSPARK_", "SPARK_")
SERVING: Final = ("BENTOML_", "OBSERVABILITY_LOG_", "OBSERVABILITY_METRICS_", "SERVING_")
#: no list may name these: they open the control plane itself
_OURS: Final = ("CONTROLPLANE_", "DRIFTGATE_")


def handed_on(environment: Mapping[str, str], prefixes: Iterable[str], named: Iterable[str] = ()) -> dict[str, str]:
    """The variables of the machine, those that begin like this, those that the settings name, and the privacy key,
    without which pseudonyms could not be made.

    >>> handed_on({"PATH": "/bin", "SPARK_HOME": "/s", "CONTROLPLANE_SECRET_KEY": "x", "AWS_REGION": "eu"}, TRAINING)
    {'PATH': '/bin', 'SPARK_HOME': '/s'}
    """
    wanted, begins = _MACHINE | set(named), (*_LIBRARIES, *prefixes)
    return {
        name: value
        for name, value in environment.items()
        if name == PRIVACY_KEY or ((name in wanted or name.startswith(begins)) and not name.startswith(_OURS))
    }
