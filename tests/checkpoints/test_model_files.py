"""Tests t5x_lite/checkpoints/model_files.py"""

from t5x_lite.checkpoints.load import save_hf
from t5x_lite.checkpoints.model_files import model_files
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from tests import tiny
from tests.checkpoints.test_run import CFG, run_dir  # noqa: F401 - a fixture


def test_all_files_of_a_hugging_face_model_are_found(tmp_path):
    save_hf(tiny.model(CFG), ByteTokenizer(), tmp_path / "model")
    written = set((tmp_path / "model").iterdir())
    (tmp_path / "model" / "answers.jsonl").touch()
    assert set(model_files(str(tmp_path / "model"))) == written


def test_the_files_of_a_run_are_found(run_dir):  # noqa: F811
    found = {path.name for path in model_files(str(run_dir))}
    assert {path.name for path in run_dir.rglob("checkpoints/*/*/*") if path.is_file()} <= found
    assert {path.name for path in run_dir.iterdir() if path.is_file() and path.name != ".lock"} <= found


def test_the_files_of_a_run_are_found_for_one_of_its_checkpoints(run_dir):  # noqa: F811
    assert set(model_files(str(run_dir / "checkpoints" / "12"))) == set(model_files(str(run_dir)))


def test_what_commands_write_beside_a_model_is_not_its_own(tmp_path):
    for name in ("answers.jsonl", "answers.jsonl.partial-00001-of-00002", "vectors.npy", "maps.html", "mine/a.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "target.encoder.weight").touch()  # of T5X
    (tmp_path / "vocab.txt").touch()
    found = {file.name for file in model_files(str(tmp_path)) if file.is_file()}
    assert found == {"target.encoder.weight", "vocab.txt"}


def test_a_single_file_is_a_model_too(tmp_path):
    (tmp_path / "checkpoint_7").touch()
    assert list(model_files(str(tmp_path / "checkpoint_7"))) == [tmp_path / "checkpoint_7"]
    assert not list(model_files(str(tmp_path / "absent")))
