"""Models of torch: TorchScript, and state dicts with the file of their network, in a worker."""

import importlib.util
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ml import registry
from ml.importing import import_model
from ml.loading import load_model
from ml.model_interface import ModelSpec, Trust
from ml.refusal import ModelRefused
from tests.ml.families.catalogue import HERE, NETWORKS, golden, said_of, task, tolerance

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed: make extras ARGS=deep",
)
DICTS = [name for name, factory in NETWORKS.items() if factory]


def said(name: str, trust: Trust, **more):
    """Return what a registration of the network's own file is told."""
    file, _, network = NETWORKS[name].partition(":")
    source = (HERE / file).read_bytes() if file else b""
    words = {"file_kind": "torch", "network": network, "network_bytes": source, "trust": trust}
    return said_of(name, **words | more)


def own(name: str) -> bytes:
    return (HERE / f"{name}.pt").read_bytes()


def spec_of(name: str, trust: Trust, folder: Path = HERE, **more) -> ModelSpec:
    words = {"factory": NETWORKS[name], "task": task(name), "sequence_length": 8} | more
    return ModelSpec(folder / f"{name}.pt", "torch", trust=trust, **words)


def refusal(call, *words, **more) -> ModelRefused:
    with pytest.raises(ModelRefused) as caught:
        call(*words, **more)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_networks_file_runs_only_where_config_and_registry_both_say_so(tmp_path):
    error = refusal(load_model, spec_of("lstm", Trust()))
    assert (error.code, "allow_custom" in str(error)) == ("model.trust", True)
    for root in (None, tmp_path):
        error = refusal(load_model, spec_of("lstm", Trust(custom=True, registry=root)))
        assert (error.code, "names no network" in str(error)) == ("model.trust", True)
    error = refusal(import_model, tmp_path, own("lstm"), said("lstm", Trust()))
    assert (error.code, "allow_custom" in str(error)) == ("model.trust", True)
    assert not (tmp_path / "registry.json").exists()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_committed_file_does_not_say_where_it_was_made(name):
    with zipfile.ZipFile(HERE / f"{name}.pt") as archive:
        assert not [m for m in archive.namelist() if b"site-packages" in archive.read(m)]


@needs_torch
@pytest.mark.parametrize("name", NETWORKS)
def test_its_own_file_is_registered_and_answers_as_torch_did(name, tmp_path):
    x, y = golden(name)
    trust = Trust(custom=bool(NETWORKS[name]), registry=tmp_path)
    entry = import_model(tmp_path, own(name), said(name, trust))
    assert (entry.kind, entry.model_file) == ("torch", "model.pt")
    assert ("network.py" in entry.files) == bool(NETWORKS[name])
    assert [found.ok for found in registry.verify(tmp_path, trust=trust)] == [True]
    model, _ = load_model(spec_of(name, trust))
    assert refusal(model.predict, x[:, 1:]).code == "model.contract"
    ask = model.predict_proba if task(name) == "classifier" else model.predict
    assert np.abs(ask(x).reshape(y.shape) - y).max() <= tolerance(name)
    assert np.abs(ask(x[0]).reshape(-1) - y[0]).max() <= tolerance(name)
    assert model.get_model_info()["library"].startswith("torch 2.")
    assert refusal(registry.load, tmp_path, name, "1").code == "model.kind"
    model.close()


@needs_torch
@pytest.mark.slow
def test_a_registered_network_is_held_to_its_hash_and_to_the_rules(tmp_path):
    trust = Trust(custom=True, registry=tmp_path)
    import_model(tmp_path, own("lstm"), said("lstm", trust))
    assert [found.code for found in registry.verify(tmp_path)] == ["model.trust"]
    folder = tmp_path / "beside"
    folder.mkdir()
    shutil.copy(HERE / "lstm.pt", folder)
    changed = (HERE / "networks.py").read_text() + "\nprint('changed')\n"
    (folder / "networks.py").write_text(changed)
    assert "names no network" in str(refusal(load_model, spec_of("lstm", trust, folder)))
    path = tmp_path / "lstm" / "1" / "network.py"
    path.write_text(changed)
    assert [found.code for found in registry.verify(tmp_path, trust=trust)] == ["model.hash"]
    registry.archive(tmp_path, "lstm", "1", why="over")
    assert "names no network" in str(refusal(load_model, spec_of("lstm", trust)))


@needs_torch
@pytest.mark.slow
def test_fault_S01_a_pickle_in_a_state_dict_does_not_run(tmp_path):
    """Plain pickle, and one dressed as torch's archive; the file's network is allowed."""
    trust, mark = Trust(custom=True, registry=tmp_path / "artifacts"), tmp_path / "it_ran"
    command = f"cos\nsystem\n(S'touch {mark}'\ntR.".encode()
    dressed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(own("lstm"))) as good, zipfile.ZipFile(dressed, "w") as bad:
        for info in good.infolist():
            evil = info.filename.endswith("/data.pkl")
            bad.writestr(info, command if evil else good.read(info))
    for data in (command, dressed.getvalue()):
        error = refusal(import_model, tmp_path / "artifacts", data, said("lstm", trust))
        assert error.code == "model.failed"
    assert not mark.exists()


@needs_torch
@pytest.mark.slow
def test_what_does_not_fit_is_refused_in_one_line(tmp_path):
    trust = Trust(custom=True, registry=tmp_path)
    error = refusal(load_model, spec_of("lstm", Trust(), factory=""))
    assert (error.code, "no TorchScript" in str(error)) == ("model.failed", True)
    error = refusal(import_model, tmp_path, own("transformer"), said("lstm", trust))
    assert (error.code, "state_dict" in str(error)) == ("model.failed", True)
    error = refusal(import_model, tmp_path, own("lstm"), said("lstm", trust, network="Nobody"))
    assert (error.code, "Nobody" in str(error)) == ("model.failed", True)
    _, y = golden("lstm")
    error = refusal(import_model, tmp_path, own("lstm"), said("lstm", trust, answers=y[:, ::-1]))
    assert error.code == "model.golden"


@needs_torch
@pytest.mark.slow
def test_the_calling_process_never_imports_torch():
    program = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from ml.loading import load_model; from ml.model_interface import ModelSpec\n"
        f"model, _ = load_model(ModelSpec(Path({str(HERE / 'cnn.pt')!r}), 'torch'))\n"
        "assert model.predict_proba(np.ones((1, 8, 4), np.float32)).shape == (1, 3)\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
