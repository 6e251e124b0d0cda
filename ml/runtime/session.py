"""ONNX Runtime sessions over fixed buffers: one call, no allocation, one thread."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ml.refusal import ModelRefused
from ml.runtime.bound import BoundModel, failed

OPTIMISATIONS = ("disabled", "basic", "extended", "all")


def runtime() -> Any:
    """Import onnxruntime on first use, with its logging off.

    Raises:
        ModelRefused: `runtime.missing`; the engine then holds on every model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        text = f"onnxruntime cannot be imported ({error}); `make replay` installs it"
        raise ModelRefused("runtime.missing", text) from None
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def open_session(model_bytes: bytes, optimisation: str = "all") -> Any:
    """Make a sequential, single-threaded CPU session from bytes already checked.

    Raises:
        ModelRefused: `model.invalid` when the runtime refuses the bytes, `runtime.missing`.
    """
    assert optimisation in OPTIMISATIONS, optimisation
    ort = runtime()
    options = ort.SessionOptions()
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    level = {
        "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
        "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
        "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    }
    options.graph_optimization_level = level[optimisation]
    try:
        return ort.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        text = f"model.onnx: the runtime refuses it: {str(error)[:200]}"
        raise ModelRefused("model.invalid", text) from None


class OrtModel(BoundModel):
    """One model over two arrays, through the runtime's Python package.

    `run()` reads `x` and writes `y`; both belong to the caller, who changes `x` in place before
    each call. The call is one function of the runtime with everything bound beforehand.

    Args:
        model_bytes: the ONNX file, already hashed and scanned.
        x: float32[1, F], or float32[1, n, F] of a sequence model, C-contiguous, the input.
        y: float32[1, C], C-contiguous, the output.
        optimisation: one of OPTIMISATIONS, from the registry entry.
        output: name of the output to serve; None takes the only one, or the last.
        normalise: (mean, scale) float32[F] each for a foreign model whose normalisation is not in
            its graph; rows become (x - mean) * scale before the model sees them.
    Raises:
        ModelRefused: `runtime.missing`, `model.invalid`, `model.contract`, `runtime.failed`.
    """

    def __init__(
        self,
        model_bytes: bytes,
        *,
        x: np.ndarray,
        y: np.ndarray,
        optimisation: str = "all",
        output: str | None = None,
        normalise: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self.x, self.y = x, y
        self.check_arrays()
        self.session = open_session(model_bytes, optimisation)
        self.input_name, self.output_name = self._names(output)
        self._normalise = normalise
        self._inner = np.zeros_like(x) if normalise is not None else x
        self._bind()

    def _names(self, output: str | None) -> tuple[str, str]:
        """Check shapes and types against the arrays; return the input's and output's name."""
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        if len(inputs) != 1:
            text = f"model.onnx: {len(inputs)} inputs, one is served"
            raise ModelRefused("model.contract", text)
        chosen = [o for o in outputs if o.name == output] if output else outputs[-1:]
        if not chosen:
            raise ModelRefused("model.contract", f"model.onnx: no output {output!r}")
        for port, array in ((inputs[0], self.x), (chosen[0], self.y)):
            sizes = port.shape if port.shape else [None, None]
            wanted = list(array.shape)
            fits = len(sizes) == len(wanted) and all(
                not isinstance(size, int) or size == want
                for size, want in zip(sizes, wanted, strict=True)
            )
            if port.type != "tensor(float)" or not fits:
                text = f"model.onnx: {port.name} is {port.type} {sizes}, served is float {wanted}"
                raise ModelRefused("model.contract", text)
        return inputs[0].name, chosen[0].name

    def _bind(self) -> None:
        """Bind both arrays once and choose the shortest call that works."""
        ort = runtime()
        binding = self.session.io_binding()
        values = [ort.OrtValue.ortvalue_from_numpy(a) for a in (self._inner, self.y)]
        binding.bind_ortvalue_input(self.input_name, values[0])
        binding.bind_ortvalue_output(self.output_name, values[1])
        self._kept = values
        try:
            self._bound = self.session._sess.run_with_iobinding, binding._iobinding
            self.renew()
            self._call()
        except (AttributeError, TypeError):
            self._bound = self.session.run_with_iobinding, binding
            self.renew()
        except Exception as error:
            raise failed(error) from None
        self.check_binding()

    def windows(self, ring: np.ndarray) -> list[Callable[[], Any]]:
        """See BoundModel."""
        n = self.check_ring(ring)
        if self._normalise is not None:
            return [functools.partial(self._run_window, ring, at) for at in range(n)]
        calls = [
            self._bound_call(ring[at + 1 : at + 1 + n][np.newaxis], self._kept[1])
            for at in range(n)
        ]
        self.check_windows(ring, calls)
        return calls

    def _bound_call(self, rows: np.ndarray, output: Any) -> Callable[[], Any]:
        """Bind one more input, and an output of the runtime, once for many calls."""
        value = runtime().OrtValue.ortvalue_from_numpy(rows)
        binding = self.session.io_binding()
        binding.bind_ortvalue_input(self.input_name, value)
        binding.bind_ortvalue_output(self.output_name, output)
        self._kept += [value, output]
        public = type(self._bound[1]) is type(binding)
        inner = binding if public else binding._iobinding
        return functools.partial(self._bound[0], inner, self._options)

    def batches(
        self, x: np.ndarray, y: np.ndarray, sizes: Sequence[int]
    ) -> list[Callable[[], Any]]:
        """See BoundModel."""
        assert x.shape[1:] == self.x.shape[1:]
        assert y.shape[1:] == self.y.shape[1:]
        inner = x if self._normalise is None else np.zeros_like(x)
        calls: list[Callable[[], Any]] = []
        for size in sizes:
            output = runtime().OrtValue.ortvalue_from_numpy(y[:size])
            call = self._bound_call(inner[:size], output)
            if self._normalise is not None:
                call = functools.partial(self._run_batch, x[:size], inner[:size], call)
            calls.append(call)
        return calls

    def _run_batch(self, rows: np.ndarray, inner: np.ndarray, call: Callable[[], Any]) -> None:
        """Normalise rows, for a foreign model, and evaluate them."""
        assert self._normalise is not None
        np.subtract(rows, self._normalise[0], out=inner)
        np.multiply(inner, self._normalise[1], out=inner)
        call()

    def _run_window(self, ring: np.ndarray, at: int) -> None:
        """Normalise one window, for a foreign model, and evaluate it."""
        assert self._normalise is not None
        rows = ring[at + 1 : at + 1 + self.x.shape[1]]
        np.subtract(rows, self._normalise[0], out=self._inner[0])
        np.multiply(self._inner, self._normalise[1], out=self._inner)
        self._call()

    def renew(self) -> None:
        """Take fresh options for runs: those of a run that was ended would end every later one."""
        options = runtime().RunOptions()
        options.log_severity_level = 4
        self._options = options
        run, binding = self._bound
        self._call: Callable[[], Any] = functools.partial(run, binding, options)
        self.run = self._call if self._normalise is None else self._run_normalised

    def terminate(self) -> None:
        """See BoundModel."""
        self._options.terminate = True

    def _run_normalised(self) -> None:
        assert self._normalise is not None
        np.subtract(self.x, self._normalise[0], out=self._inner)
        np.multiply(self._inner, self._normalise[1], out=self._inner)
        self._call()

    def run_batch(self, rows: np.ndarray) -> np.ndarray:
        """See BoundModel."""
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        if self._normalise is not None:
            rows = (rows - self._normalise[0]) * self._normalise[1]
        try:
            (result,) = self.session.run([self.output_name], {self.input_name: rows})
        except Exception as error:
            raise failed(error) from None
        if result.shape != (len(rows), self.y.shape[1]):
            text = f"model.onnx: {result.shape} answers for {len(rows)} rows"
            raise ModelRefused("model.contract", text)
        return np.asarray(result, dtype=np.float32)

    def close(self) -> None:
        """See BoundModel."""
        for name in ("run", "_call", "_kept", "session"):
            self.__dict__.pop(name, None)
