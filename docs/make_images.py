# SPDX-License-Identifier: Apache-2.0
"""Draws the images of the documentation, from the quick start's run and from arrays sharded over eight fake devices.

    bash scripts/quickstart.sh
    python docs/make_images.py --run_dir runs/quickstart

It needs the extra `plot` and a Chromium for the screenshot of the attention page (CHROMIUM names another one).
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

IMAGES = pathlib.Path(__file__).resolve().parent / "images"
TEXT = "Returns the <extra_id_0> of the array."
KERNEL_SHAPE, BATCH_SHAPE = (512, 1024), (16, 32)  # [embed, mlp] of T5 1.1 small, and a batch


def main() -> None:
    """Writes loss_curve.svg, lengths.svg, attention.png and mesh.svg."""
    parser = argparse.ArgumentParser(description="Makes the pictures of the documentation.")
    parser.add_argument("--run_dir", type=pathlib.Path, required=True)
    run_dir = parser.parse_args().run_dir
    shutil.copy(run_dir / "loss.svg", IMAGES / "loss_curve.svg")
    config = ["--config", f"{run_dir}/config.yaml", "--run_dir", str(run_dir)]
    run("data", "stats", *config, "--output", f"{IMAGES}/lengths.svg")
    with tempfile.TemporaryDirectory() as folder:
        page = f"{folder}/attention.html"
        run("attention", "--checkpoint", str(run_dir), "--text", TEXT, "--output", page)
        screenshot(page, IMAGES / "attention.png")
    draw_mesh(IMAGES / "mesh.svg")


def run(*arguments: str) -> None:
    """Runs a command of this checkout."""
    call = "import sys; from t5x_lite.cli import main; sys.exit(main())"
    path = os.pathsep.join([str(IMAGES.parents[1]), os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", call, *arguments], check=True, env=os.environ | {"PYTHONPATH": path})


def screenshot(page: str, picture: pathlib.Path) -> None:
    """Takes a picture of the top of a page."""
    browser = [os.environ.get("CHROMIUM", "chromium"), "--headless", "--no-sandbox", "--disable-gpu"]
    size = ["--window-size=1000,900", "--hide-scrollbars", f"--screenshot={picture}"]
    subprocess.run([*browser, *size, f"file://{page}"], check=True, stderr=subprocess.DEVNULL)


def draw_mesh(picture: pathlib.Path) -> None:
    """Draws what each of eight devices holds of a kernel and of a batch, as JAX shards them by the project's rules."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import matplotlib.pyplot as plt
    import numpy as np
    from jax.sharding import NamedSharding
    from matplotlib.patches import Rectangle

    sys.path.insert(0, str(IMAGES.parents[1]))
    from t5x_lite.config import MeshConfig
    from t5x_lite.parallel.mesh import make_mesh
    from t5x_lite.parallel.rules import partition_spec

    jax.config.update("jax_num_cpu_devices", 8)
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    arrays = {
        "a kernel [embed, mlp]": (KERNEL_SHAPE, partition_spec(("embed", "mlp"))),
        "a batch [batch, length]": (BATCH_SHAPE, partition_spec(("batch", None))),
    }
    plt.rcParams |= {"svg.hashsalt": "t5x_lite", "svg.fonttype": "none", "font.size": 9}
    figure, grid = plt.subplots(4, 4, figsize=(6, 6.8), layout="constrained")
    for row, (title, (shape, spec)) in enumerate(arrays.items()):
        slices = NamedSharding(mesh, spec).devices_indices_map(shape)
        for number, (place, device) in enumerate(np.ndenumerate(mesh.devices)):
            axes = grid[row + 2 * (number // 4), number % 4]
            sides = [side.indices(size)[:2] for side, size in zip(slices[device], shape, strict=True)]
            (top, bottom), (left, right) = ([edge / n for edge in side] for side, n in zip(sides, shape, strict=True))
            axes.add_patch(Rectangle((left, top), right - left, bottom - top, color=f"C{row}"))
            axes.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[], aspect="equal")
            if row == 0:
                data, fsdp, _, tensor = place
                axes.set_title(f"device {device.id}\ndata {data}, fsdp {fsdp}, tensor {tensor}", fontsize=8)
            axes.set_xlabel("[{}:{}, {}:{}]".format(*sides[0], *sides[1]), fontsize=8)
            if number % 4 == 0:
                axes.set_ylabel(title, fontsize=8)
    figure.savefig(picture, metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    main()
