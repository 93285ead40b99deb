# SPDX-License-Identifier: Apache-2.0
"""Configuration as frozen dataclasses; this package exports the parts of a run's configuration.

It uses only the standard library, so that reading a config or printing `--help` does not import JAX. Options of the
other commands are in `config.commands`, decoding settings in `config.generation`.
"""

from t5x_lite.config.model import REMAT_NAMES as REMAT_NAMES
from t5x_lite.config.model import ModelConfig as ModelConfig
from t5x_lite.config.model import ModelOptions as ModelOptions
from t5x_lite.config.model import check_dtype as check_dtype
from t5x_lite.config.run import CheckpointConfig as CheckpointConfig
from t5x_lite.config.run import DataConfig as DataConfig
from t5x_lite.config.run import EvalConfig as EvalConfig
from t5x_lite.config.run import MeshConfig as MeshConfig
from t5x_lite.config.run import OptimizerConfig as OptimizerConfig
from t5x_lite.config.run import RunConfig as RunConfig
from t5x_lite.config.run import TrainConfig as TrainConfig
from t5x_lite.config.task import DOCSTRINGS as DOCSTRINGS
from t5x_lite.config.task import READ_BY_OBJECTIVE as READ_BY_OBJECTIVE
from t5x_lite.config.task import VOCABULARY_BYTES as VOCABULARY_BYTES
from t5x_lite.config.task import MixtureConfig as MixtureConfig
from t5x_lite.config.task import TaskConfig as TaskConfig
from t5x_lite.config.task import TokenizerConfig as TokenizerConfig
