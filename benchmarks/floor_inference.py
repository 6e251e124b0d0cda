"""Floor of inference: one ONNX Runtime session, arrays bound once, one RunOptions kept."""

from functools import partial

import numpy as np


class BoundModel:
    """A model `x` -> `p` over two arrays that stay where they are."""

    def __init__(self, model: bytes, x: np.ndarray, y: np.ndarray) -> None:
        """Open the session on one thread and bind float32[1, F] and float32[1, C]."""
        import onnxruntime as ort

        ort.set_default_logger_severity(4)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.output = self.session.get_outputs()[-1].name
        values = [ort.OrtValue.ortvalue_from_numpy(array) for array in (x, y)]
        binding = self.session.io_binding()
        binding.bind_ortvalue_input(self.input, values[0])
        binding.bind_ortvalue_output(self.output, values[1])
        run_options = ort.RunOptions()
        run_options.log_severity_level = 4
        self._kept = x, y, values, binding, run_options
        self.run = partial(self.session._sess.run_with_iobinding, binding._iobinding, run_options)

    def run_batch(self, rows: np.ndarray) -> np.ndarray:
        """Evaluate float32[n, F] at once; float32[n, C], newly allocated."""
        result: np.ndarray = self.session._sess.run([self.output], {self.input: rows}, None)[0]
        return result
