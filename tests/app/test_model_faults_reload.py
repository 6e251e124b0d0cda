"""The fault list's M rows at a reload: every bad candidate is refused and the old one serves on.

One session is asked for all of them in turn, and for versions that are not there; at its end every
decision is what it would have been without, and its tape replays.
"""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import pytest_asyncio
from onnx import TensorProto, numpy_helper

from engine.run_files import EVENTS
from ml import registry
from tests.app.reload_world import World, refused, repeated
from tests.app.versions import tick_mlp
from tests.ml.faulty_models import changed, hungry, looping

pytestmark = pytest.mark.asyncio(loop_scope="module")
WIDTH, STEP = 11, 400
NAMED = ("TickMLP:1", "TickMLP:2")


class Asked(NamedTuple):
    """The session, its artifacts, and the artifacts as they were."""

    world: World
    root: Path
    kept: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked(two_versions, tmp_path_factory):
    folder, cache = tmp_path_factory.mktemp("asked"), tmp_path_factory.getbasetemp() / "tapes"
    root = Path(shutil.copytree(two_versions, folder / "artifacts"))
    world = World(folder / "w", root, NAMED, cache=cache)
    running = asyncio.create_task(world.reloads.run())
    yield Asked(world, root, two_versions)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def claim(root: Path, change: Callable[[dict], object]) -> None:
    """Change what the registry says of TickMLP:2."""
    path = root / "registry.json"
    told = json.loads(path.read_text())
    change(next(e for e in told["entries"] if (e["model_id"], e["version"]) == ("TickMLP", "2")))
    path.write_text(json.dumps(told))


def forge(root: Path, name: str, data: bytes) -> None:
    """Put other bytes into TickMLP:2 with hashes that agree."""
    (root / "TickMLP" / "2" / name).write_bytes(data)
    word = registry.sha256(data)

    def change(entry: dict) -> None:
        entry["files"][name] = word
        if name == "model.onnx":
            entry["sha256"] = word

    claim(root, change)


def model(data: bytes) -> Callable[[Path], None]:
    """Return what puts other bytes in the place of the model."""
    return lambda root: forge(root, "model.onnx", data)


def edited(change: Callable[[onnx.ModelProto], object]) -> Callable[[Path], None]:
    """Return what changes something in the model's protobuf."""
    return model(changed(tick_mlp(), change))


def meta(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Return what changes the model's metadata.json."""

    def spoil(root: Path) -> None:
        told = json.loads((root / "TickMLP" / "2" / "metadata.json").read_bytes())
        change(told)
        forge(root, "metadata.json", json.dumps(told).encode())

    return spoil


def flip(root: Path) -> None:
    path = root / "TickMLP" / "2" / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def link(root: Path) -> None:
    path = root / "TickMLP" / "2" / "model.onnx"
    shutil.copy(path, root / "elsewhere")
    path.unlink()
    path.symlink_to(root / "elsewhere")


def outside(found: onnx.ModelProto) -> None:
    """Keep a tensor's data in another file."""
    tensor = found.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="golden.npz")


def doubled(found: onnx.ModelProto) -> None:
    """Ask for float64."""
    found.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def foreign(found: onnx.ModelProto) -> None:
    found.graph.node[0].domain = "com.example"


def renamed(found: onnx.ModelProto) -> None:
    """Call the output otherwise than the registry does."""
    for node in found.graph.node:
        node.output[:] = ["other" if o == found.graph.output[0].name else o for o in node.output]
    found.graph.output[0].name = "other"


def called(data: bytes) -> bytes:
    """Call the output as TickMLP does."""

    def change(found: onnx.ModelProto) -> None:
        found.graph.node[-1].output[0] = found.graph.output[0].name = "probabilities"

    return changed(data, change)


def weighed(factor: float) -> Callable[[onnx.ModelProto], None]:
    """Let its three numbers sum to something else."""

    def change(found: onnx.ModelProto) -> None:
        last = found.graph.node[-1]
        name = last.output[0]
        last.output[0] = "right"
        factor_of = numpy_helper.from_array(np.array(factor, np.float32), "factor")
        found.graph.initializer.append(factor_of)
        found.graph.node.append(onnx.helper.make_node("Mul", ["right", "factor"], [name]))

    return change


def huge(root: Path) -> None:
    with open(root / "TickMLP" / "2" / "metadata.json", "r+b") as file:
        file.truncate(100 << 20)


def two_productions(root: Path) -> None:
    claim(root, lambda entry: entry.update(status="production"))


BAD = {
    "M01 nothing": (model(b""), "model.invalid"),
    "M01 a pickle": (model(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00."), "model.invalid"),
    "M01 random bytes": (model(np.random.default_rng(1).bytes(4096)), "model.invalid"),
    "M01 cut off": (model(tick_mlp()[:-50]), "model.invalid"),
    "M02 a flipped bit": (flip, "model.hash"),
    "M04 external data": (edited(outside), "model.unsafe"),
    "M05 a link": (link, "model.path"),
    "M06 float64": (edited(doubled), "model.contract"),
    "M06 opset 18": (edited(lambda m: setattr(m.opset_import[0], "version", 18)), "model.contract"),
    "M06 IR version 99": (edited(lambda m: setattr(m, "ir_version", 99)), "model.contract"),
    "M06 a custom operator": (edited(foreign), "model.unsafe"),
    "M06 another output": (edited(renamed), "model.contract"),
    "M06 ten features": (model(called(hungry(10))), "model.contract"),
    "M07 chances that sum to 2": (edited(weighed(2.0)), "model.output"),
    "M07 chances below 0": (edited(weighed(-1.0)), "model.output"),
    "M07 other answers": (model(tick_mlp(0.5)), "model.golden"),
    "M08 no numbers": (model(tick_mlp(float("nan"))), "model.output"),
    "M09 the same answer": (model(tick_mlp(0.0)), "model.output"),
    "M10 an endless loop": (model(looping(WIDTH)), "model.unsafe"),
    "M12 four TiB": (model(called(hungry(WIDTH))), "runtime.failed"),
    "M13 a renamed feature": (
        lambda root: claim(
            root, lambda entry: entry["input_features"].__setitem__(0, "bid_ask_spreat")
        ),
        "model.features",
    ),
    "M13 other feature code": (
        lambda root: claim(root, lambda entry: entry.update(kernel_identity="0" * 64)),
        "model.kernel",
    ),
    "M14 other training data": (
        meta(lambda told: told["training_data"].update(sha256="1" * 64)),
        "model.metadata",
    ),
    "M14 other scaling": (
        meta(
            lambda told: told.update(
                normalisation={"where": "metadata", "mean": [0.0] * WIDTH, "std": [1.0] * WIDTH}
            )
        ),
        "model.metadata",
    ),
    "M15 no metadata": (
        lambda root: (root / "TickMLP" / "2" / "metadata.json").unlink(),
        "model.missing",
    ),
    "M15 metadata of 100 MB": (huge, "model.metadata"),
    "M15 extra keys": (meta(lambda told: told.update(surprise=1)), "model.metadata"),
    "M16 a torn registry": (lambda root: (root / "registry.json").write_text("{"), "registry.torn"),
    "M16 two productions": (two_productions, "registry.ambiguous"),
    "M20 no file": (
        lambda root: (root / "TickMLP" / "2" / "model.onnx").unlink(),
        "model.missing",
    ),
}


def restore(asked: Asked) -> None:
    shutil.rmtree(asked.root)
    shutil.copytree(asked.kept, asked.root)


async def still_trades(world: World) -> None:
    """See that the version before decides on."""
    assert world.version() == "1"
    before = int(world.parts.state.root[0]["decisions"])
    world.feed(STEP)
    assert int(world.parts.state.root[0]["decisions"]) > before
    assert world.parts.swaps.count == 0


@pytest.mark.parametrize("what", BAD)
async def test_fault_a_bad_candidate_is_refused_and_the_old_one_serves_on(asked, what):
    spoil, code = BAD[what]
    world = asked.world
    spoil(asked.root)
    world.reloads.ask("TickMLP", "2", "test")
    said = await refused(world)
    restore(asked)
    assert f"[{code}]" in said
    assert "\n" not in said
    assert world.told[-1] == ("model_refused", said)
    await still_trades(world)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ("TickMLP:9\n", "it has: 1, 2"),
        ("rollback TickMLP\n", "no version before is kept"),
        ("Nobody:1\n", "no model of this session has that id"),
    ],
)
async def test_fault_M20_a_target_that_is_not_there_leaves_what_serves(asked, wish, why):
    asked.world.signal.write_text(wish)
    assert why in await refused(asked.world)
    await still_trades(asked.world)


async def test_fault_no_refusal_has_changed_a_decision_and_the_run_replays(
    asked, tmp_path, tmp_path_factory
):
    world = asked.world
    alone = World(tmp_path, asked.kept, NAMED, cache=tmp_path_factory.getbasetemp() / "tapes")
    while alone.at < world.at:
        alone.feed(STEP)
    plain, done = alone.close(), world.close()
    assert done.decision_digest == plain.decision_digest
    assert (done.reloads, done.fills) == (0, plain.fills)
    events = (world.run_dir / EVENTS).read_text()
    assert events.count("reload_refused") == len(BAD) + 3
    assert repeated(world).decision_digest == done.decision_digest
