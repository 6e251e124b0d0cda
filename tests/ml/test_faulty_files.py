"""The fault list's M rows on files: swapped while they are read, and weights kept elsewhere.

The other offline rows stand where their part is tested: test_registry.py, test_onnx_scan.py,
test_golden.py, test_importing.py, test_governance.py, test_versions.py.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

from ml import registry
from ml.refusal import ModelRefused
from ml.safe_files import sha256

FOLDER = "SignalClassifier/1"
WITHIN_S = 30.0
SWAPPER = """
import os, sys
good, other, path = sys.argv[1:]
print("begun", flush=True)
while os.getppid() == int(os.environ["OWNER"]):
    for source in (other, good):
        os.link(source, path + ".new")
        os.replace(path + ".new", path)
"""


def test_fault_M03_a_file_swapped_all_the_time_is_the_registered_one_or_refused(root, tmp_path):
    path = root / FOLDER / "model.onnx"
    good, other = tmp_path / "good", tmp_path / "other"
    good.write_bytes(path.read_bytes())
    data = bytearray(good.read_bytes())
    data[len(data) // 2] ^= 1
    other.write_bytes(bytes(data))
    words = [sys.executable, "-c", SWAPPER, str(good), str(other), str(path)]
    served = refused = 0
    ends = time.monotonic() + WITHIN_S
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, env=os.environ | {"OWNER": str(os.getpid())}
    ) as swapper:
        try:
            assert swapper.stdout is not None and swapper.stdout.readline() == b"begun\n"
            while served < 20 or refused < 20:
                assert time.monotonic() < ends, (served, refused)
                try:
                    loaded = registry.load(root, "SignalClassifier")
                except ModelRefused as error:
                    assert error.code == "model.hash"
                    refused += 1
                    continue
                assert sha256(loaded.model_bytes) == loaded.sha256 == sha256(good.read_bytes())
                served += 1
        finally:
            swapper.kill()


def elsewhere(folder: Path, how: str, outside: Path) -> str:
    """Lay a file of weights somewhere; return the name that a tensor gives it."""
    outside.write_bytes(bytes(1 << 16))
    if how == "above":
        return f"../../../{outside.name}"
    if how == "absolute":
        return str(outside)
    if how == "symbolic link":
        (folder / "weights").symlink_to(outside)
    elif how == "hard link":
        os.link(outside, folder / "weights")
    else:
        (folder / "weights").write_bytes(bytes(1 << 16))
    return "weights"


@pytest.mark.parametrize("how", ["beside", "above", "absolute", "symbolic link", "hard link"])
def test_fault_M04_weights_kept_in_any_other_file_are_refused(root, how):
    folder = root / "TickMLP" / "1"
    found = onnx.load(folder / "model.onnx")
    tensor = found.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=elsewhere(folder, how, root.parent / "far"))
    data = found.SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    told = json.loads((root / "registry.json").read_bytes())
    (entry,) = [one for one in told["entries"] if one["model_id"] == "TickMLP"]
    entry["files"]["model.onnx"] = entry["sha256"] = sha256(data)
    (root / "registry.json").write_text(json.dumps(told))
    with pytest.raises(ModelRefused) as caught:
        registry.load(root, "TickMLP", "1")
    assert caught.value.code == "model.unsafe"
