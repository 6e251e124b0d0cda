"""ONNX Runtime sessions over fixed buffers: one call, no allocation, one thread."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ml.refusal import ModelRefused

OPTIMISATIONS = ("disabled", "basic", "extended", "all")
BATCH_SIZES = (2, 3, 7, 64, 256, 1024)


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


class OrtModel:
    """One model over two arrays that stay where they are.

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

    run: Callable[[], Any]

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
        for array in (x, y):
            assert array.dtype == np.float32
            assert array.ndim in (2, 3) and array.shape[0] == 1
            assert array.flags.c_contiguous
        self.x, self.y = x, y
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
            raise _failed(error) from None
        self._check_binding()

    def windows(self, ring: np.ndarray) -> list[Callable[[], Any]]:
        """Bind every window of a ring once; each call evaluates one of them into `y`, in place.

        Args:
            ring: float32[2n, F], C-contiguous: each row stands at `at` and at `at + n`, so that the
                n rows that end with the one at `at` stand together from `at + 1` on.
        Returns:
            n calls, by the place `at` of the newest row. They live as long as this object.
        """
        n = self.x.shape[1]
        assert self.x.ndim == 3
        assert ring.shape == (2 * n, self.x.shape[2])
        assert ring.dtype == np.float32
        assert ring.flags.c_contiguous
        if self._normalise is not None:
            return [functools.partial(self._run_window, ring, at) for at in range(n)]
        calls = [
            self._bound_call(ring[at + 1 : at + 1 + n][np.newaxis], self._kept[1])
            for at in range(n)
        ]
        self._check_windows(ring, calls)
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
        """Bind the first rows of two arrays, once for each size; a call evaluates so many of them.

        Args:
            x: float32[n, F], C-contiguous.
            y: float32[n, C], C-contiguous; the answers come here, in place.
            sizes: of the batches, at most n each.
        Returns:
            one call for each size. They live as long as this object.
        """
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

    def _check_windows(self, ring: np.ndarray, calls: Sequence[Callable[[], Any]]) -> None:
        """Prove that each call reads its own window of the ring, in place."""
        kept, n = ring.copy(), len(calls)
        ring[:] = np.random.default_rng(n).standard_normal(ring.shape)
        try:
            for at, call in enumerate(calls):
                self.x[0] = ring[at + 1 : at + 1 + n]
                self.run()
                expected = self.y.copy()
                self.y[:] = np.nan
                call()
                if expected.tobytes() != self.y.tobytes():
                    text = "model.onnx: bound windows are not used"
                    raise ModelRefused("runtime.failed", text)
        finally:
            ring[:] = kept
            self.x[:] = 0.0

    def renew(self) -> None:
        """Take fresh options for runs: those of a run that was ended would end every later one."""
        options = runtime().RunOptions()
        options.log_severity_level = 4
        self._options = options
        run, binding = self._bound
        self._call: Callable[[], Any] = functools.partial(run, binding, options)
        self.run = self._call if self._normalise is None else self._run_normalised

    def terminate(self) -> None:
        """Let the run that goes on in another thread raise before its next node; then `renew`."""
        self._options.terminate = True

    def _run_normalised(self) -> None:
        assert self._normalise is not None
        np.subtract(self.x, self._normalise[0], out=self._inner)
        np.multiply(self._inner, self._normalise[1], out=self._inner)
        self._call()

    def _check_binding(self) -> None:
        """Prove that the bound call reads `x` and writes `y` in place."""
        kept = self.x.copy()
        try:
            for fill in (0.0, 0.5):
                self.x[:] = fill
                self.y[:] = np.nan
                self.run()
                expected = self.run_batch(self.x.copy())
                if expected.tobytes() != self.y.tobytes():
                    raise ModelRefused("runtime.failed", "model.onnx: bound buffers are not used")
        except ModelRefused:
            raise
        except Exception as error:
            raise _failed(error) from None
        finally:
            self.x[:] = kept

    def run_batch(self, rows: np.ndarray) -> np.ndarray:
        """Evaluate many rows at once.

        Args:
            rows: float32[n, F], or float32[n, steps, F].
        Returns:
            float32[n, C], newly allocated.
        Raises:
            ModelRefused: `runtime.failed`, or `model.contract` for a model of one row a call.
        """
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        if self._normalise is not None:
            rows = (rows - self._normalise[0]) * self._normalise[1]
        try:
            (result,) = self.session.run([self.output_name], {self.input_name: rows})
        except Exception as error:
            raise _failed(error) from None
        if result.shape != (len(rows), self.y.shape[1]):
            text = f"model.onnx: {result.shape} answers for {len(rows)} rows"
            raise ModelRefused("model.contract", text)
        return np.asarray(result, dtype=np.float32)

    def run_rows(self, rows: np.ndarray) -> np.ndarray:
        """Evaluate rows one by one through the bound call; float32[n, F] to float32[n, C]."""
        kept = self.x.copy()
        answers = np.empty((len(rows), self.y.shape[1]), np.float32)
        for index, row in enumerate(rows):
            self.x[0] = row
            self.run()
            answers[index] = self.y[0]
        self.x[:] = kept
        return answers

    def close(self) -> None:
        """Free the session; nothing here may be called any more."""
        for name in ("run", "_call", "_kept", "session"):
            self.__dict__.pop(name, None)

    def batch_equals_single(self, rows: np.ndarray, sizes: Sequence[int] = BATCH_SIZES) -> bool:
        """Say whether batched answers equal single ones bit for bit, at every batch size.

        Args:
            rows: float32[n, F], as varied as what will come.
            sizes: batch sizes to try; larger than n are cut.
        """
        try:
            single = self.run_rows(rows)
            for size in sizes:
                for start in range(0, len(rows), size):
                    batch = self.run_batch(rows[start : start + size])
                    if batch.tobytes() != single[start : start + size].tobytes():
                        return False
        except ModelRefused:
            return False
        return True


def _failed(error: Exception) -> ModelRefused:
    return ModelRefused("runtime.failed", f"model.onnx: the runtime failed: {str(error)[:200]}")
