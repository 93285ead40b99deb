"""A run small enough to be trained in a test: bytes for tokens, one package's docstrings for text."""

import dataclasses
import pathlib

import jax
import numpy as np

from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.config import (
    CheckpointConfig,
    EvalConfig,
    MeshConfig,
    ModelOptions,
    OptimizerConfig,
    RunConfig,
    TaskConfig,
    TokenizerConfig,
    TrainConfig,
)


def config(run_dir: pathlib.Path, *, mesh: MeshConfig | None = None, **train) -> RunConfig:
    """Eight steps of eight sequences on one of the eight devices' meshes, dropout included."""
    return RunConfig(
        run_dir=str(run_dir),
        task=TaskConfig(packages=("optax",), tokenizer=TokenizerConfig(kind="bytes")),
        model=ModelOptions(
            emb_dim=16,
            num_heads=4,
            head_dim=6,
            mlp_dim=24,
            num_encoder_layers=2,
            num_decoder_layers=1,
            dropout_rate=0.1,
        ),
        train=TrainConfig(**{"num_steps": 8, "batch_size": 8, "inputs_length": 32, "log_every_steps": 1} | train),
        optimizer=OptimizerConfig(learning_rate=0.02, schedule="constant", warmup_steps=0),
        eval=EvalConfig(every_steps=4, num_batches=2),
        checkpoint=CheckpointConfig(every_steps=3, keep=2),
        mesh=mesh or MeshConfig(),
    )


def with_steps(cfg: RunConfig, num_steps: int) -> RunConfig:
    return dataclasses.replace(cfg, train=dataclasses.replace(cfg.train, num_steps=num_steps))


def arrays(run_dir: pathlib.Path | str, items=("model", "optimizer", "counters")) -> dict[str, np.ndarray]:
    """Every array of the newest checkpoint, by its path, read without the classes that wrote it."""
    import orbax.checkpoint as ocp

    checkpoints = Checkpoints(pathlib.Path(run_dir) / "checkpoints")
    step = checkpoints.latest_step()
    checkpoints.close()
    found = {}
    with ocp.StandardCheckpointer() as reader:
        for item in items:
            tree = reader.restore((pathlib.Path(run_dir) / "checkpoints" / str(step) / item).absolute())
            for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
                found[item + jax.tree_util.keystr(path)] = np.asarray(leaf)
    return found
