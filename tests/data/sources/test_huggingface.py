"""Tests t5x_lite/data/sources/huggingface.py"""

import datetime
import pickle
import re
import subprocess
import sys
import time

import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.sources import open_source
from t5x_lite.data.sources.base import BadRecord
from t5x_lite.data.sources.huggingface import open_dataset


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The library, with nothing downloaded before and no network."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets", reason="needs the extra datasets: pip install 't5x-lite[datasets]'")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "home" / "datasets")
    datasets.disable_progress_bars()
    return datasets


@pytest.fixture
def table(hub):
    columns = {
        "text": [f"t\u00e9xt {i}" for i in range(30)],
        "label": hub.ClassLabel(names=["bad", "good"]).str2int(["good", "bad"] * 15),
        "answers": [[f"a{i}", "b"] for i in range(30)],
        "where": [{"line": i, "score": i / 2} for i in range(30)],
    }
    return hub.Dataset.from_dict(columns)


def test_a_saved_dataset_is_read_as_plain_values(table, tmp_path):
    table.with_format("numpy").save_to_disk(tmp_path / "saved")
    source = open_dataset(f"hf:{tmp_path / 'saved'}")
    assert len(source) == 30
    assert source[7] == {"text": "t\u00e9xt 7", "label": 0, "answers": ["a7", "b"], "where": {"line": 7, "score": 3.5}}
    assert type(source[7]["label"]) is int
    assert source.where(7) == f"hf:{tmp_path / 'saved'} example 7"


def test_a_tilde_stands_for_the_home_directory(table, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    table.save_to_disk(tmp_path / "saved")
    assert len(open_dataset("hf:~/saved")) == 30


def test_selected_and_shuffled_rows_keep_their_order(table, tmp_path):
    table.select([4, 9, 2]).save_to_disk(tmp_path / "saved")
    source = open_dataset(f"hf:{tmp_path / 'saved'}")
    assert [source[i]["where"]["line"] for i in range(3)] == [4, 9, 2]


def test_a_split_is_named_after_the_at_sign(hub, table, tmp_path):
    folder = tmp_path / "a set@home"
    hub.DatasetDict({"train": table, "test": table.select(range(11))}).save_to_disk(folder)
    source, _ = open_source(TaskConfig(), f"hf:{folder}@test", tmp_path / "cache")
    assert len(source) == 11
    assert len(open_dataset(f"hf:{folder}@train")) == 30
    for name, asks in (
        (f"hf:{folder}", "names no split"),
        (f"hf:{folder}@validation", "asks for the split 'validation'"),
    ):
        with pytest.raises(
            ValueError, match=rf"task.eval_source 'hf:.*' {asks}, but its splits are train, test: write @SPLIT"
        ):
            open_dataset(name, "task.eval_source")


def test_a_dataset_without_splits_refuses_other_splits(table, tmp_path):
    table.save_to_disk(tmp_path / "saved@here")
    assert len(open_dataset(f"hf:{tmp_path / 'saved@here'}")) == 30
    with pytest.raises(ValueError, match=r"asks for the split 'train', but .* only one .*: leave out @train"):
        open_dataset(f"hf:{tmp_path / 'saved@here'}@train")


def test_a_directory_that_the_library_did_not_write_is_refused(hub, tmp_path):
    (tmp_path / "a.jsonl").write_text("{}")
    with pytest.raises(ValueError, match=r"task.source 'hf:.*' is not a directory written by save_to_disk: name one"):
        open_dataset(f"hf:{tmp_path}")


@pytest.mark.parametrize("file", ["state.json", "dataset_info.json", "data-00000-of-00001.arrow"])
@pytest.mark.parametrize("damage", ["cut", "random", "removed"])
def test_a_damaged_directory_is_named(table, tmp_path, file, damage):
    table.save_to_disk(tmp_path / "saved")
    path = tmp_path / "saved" / file
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:40])
        case "random":
            path.write_bytes(b"\xff\0{" * 30)
        case "removed":
            path.unlink()
    with pytest.raises(
        ValueError, match=r"saved' is (damaged \(.+\): save it again|not a directory written by save_to_disk)"
    ):
        open_dataset(f"hf:{tmp_path / 'saved'}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "hf:no_such/set@train",
            r"'hf:no_such/set@train' cannot be opened \(the Hub cannot be reached, and it has not .*\): write hf:",
        ),
        ("hf:no_such/set/config@train", r"'hf:no_such/set/config@train' cannot be opened \(the Hub cannot"),
        *(
            (
                f"hf:{name}",
                rf"'hf:{re.escape(name)}' is neither a directory nor a split of a dataset on the Hub: write hf:OW",
            )
            for name in (
                "bad name!!@train",
                "../absent@train",
                "/absent@train",
                "/tmp/absent@train",
                "~/absent@train",
                "here/set/config@train",
                "a/b/c/d@train",
                "json@train",
                "no_such/set",
                "no_such/set@",
                "@train",
                "",
            )
        ),
    ],
)
def test_a_missing_dataset_is_one_error_within_seconds(hub, tmp_path, monkeypatch, name, message):
    (tmp_path / "here" / "set").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub.config, "HF_ENDPOINT", "http://127.0.0.1:9")  # where nothing listens
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(ValueError, match=f"^task.source {message}"):
        open_dataset(name)
    assert time.monotonic() - begun < 5
    assert hub.config.HF_HUB_OFFLINE is False


def test_the_hub_is_not_asked_in_offline_mode(hub, monkeypatch):
    monkeypatch.setattr(hub.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"cannot be opened \(the Hub cannot be reached, and it has not"):
        open_dataset("hf:no_such/set@train")
    assert hub.config.HF_HUB_OFFLINE is True


def test_a_dataset_of_the_hub_is_requested_by_name_config_and_split(hub, table, monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
    monkeypatch.setattr(hub, "load_dataset", lambda *names, **options: asked.append((names, options)) or table)
    for name in ("hf:owner/name/config@train[:10%]", "hf:owner/a.b-c@test"):
        assert len(open_dataset(name)) == 30
    assert asked == [
        (("owner/name", "config"), {"split": "train[:10%]"}),
        (("owner/a.b-c", None), {"split": "test"}),
    ]


def test_an_unknown_split_of_the_hub_is_the_librarys_error(hub, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("Unknown split \"x\". Should be one of ['train'].\nmore")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
    monkeypatch.setattr(hub, "load_dataset", refuse)
    with pytest.raises(
        ValueError, match=r"cannot be opened \(Unknown split \"x\". Should be one of \['train'\].\): write"
    ):
        open_dataset("hf:owner/name@x")


def test_a_value_that_python_cannot_represent_is_a_bad_record(hub, tmp_path):
    import pyarrow

    days = pyarrow.array([0, 10**17], pyarrow.timestamp("s"))
    hub.Dataset(pyarrow.table({"day": days})).save_to_disk(tmp_path / "saved")
    source = open_dataset(f"hf:{tmp_path / 'saved'}")
    assert source[0] == {"day": datetime.datetime(1970, 1, 1)}
    with pytest.raises(BadRecord, match=r"saved example 1 has a value that cannot be read \(.*\): leave it out"):
        source[1]


def test_a_source_can_be_pickled(table, tmp_path):
    table.save_to_disk(tmp_path / "saved")
    assert pickle.loads(pickle.dumps(open_dataset(f"hf:{tmp_path / 'saved'}")))[29]["text"] == "t\u00e9xt 29"


def test_without_the_extra_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        ValueError, match=r"--input 'hf:x@train' needs Hugging Face's datasets: pip install 't5x-lite\[datasets\]'"
    ):
        open_dataset("hf:x@train", "--input")


def test_the_library_is_imported_only_when_it_is_used():
    code = (
        "import sys; import t5x_lite.data.sources; "
        "assert not {'datasets', 'huggingface_hub', 'tensorflow', 'torch'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(map(str, sys.path))}, check=True)
