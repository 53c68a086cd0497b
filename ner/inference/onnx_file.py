"""A model folder as an ONNX file, for programs without PyTorch, and such a file as a model that can be scored.

The graph is that of transformers' own model with these weights: from `input_ids` and `attention_mask`, (B, L) int64, to
`logits`, (B, L, K) float32, of any B and L. Packed tokens would be faster, but need a layout made by Python.
"""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForTokenClassification

from ner.options import UserError

ONNX, INT8 = "model.onnx", "model.int8.onnx"
INPUTS, OUTPUT = ("input_ids", "attention_mask"), "logits"


def check_installed() -> None:
    """``UserError`` without the packages, which requirements.txt does not have."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"--onnx: {error}; expected pip install onnx onnxruntime onnxscript") from None


class Logits(nn.Module):
    """transformers' model as a function of two tensors."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


def write(folder: Path) -> Path:
    """Write model.onnx into a model folder, in float32."""
    model = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32)
    ids = torch.full((2, 4), model.config.pad_token_id + 1)
    sizes = {0: "batch", 1: "length"}
    with quiet():
        torch.onnx.export(Logits(model).eval(), (ids, torch.ones_like(ids)), folder / ONNX, input_names=INPUTS,
                          output_names=[OUTPUT], dynamic_shapes=dict.fromkeys(INPUTS, sizes), dynamo=True,
                          external_data=False, verbose=False)
    return folder / ONNX


def write_int8(path: Path) -> Path:
    """Write model.int8.onnx beside model.onnx: weights in 8 bits, by channel; activations are rounded as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(path, path.with_name(INT8), weight_type=QuantType.QInt8, per_channel=True)
    return path.with_name(INT8)


@contextlib.contextmanager
def quiet():
    """Without the exporters' advice for their developers."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


class OnnxModel(nn.Module):
    """An ONNX file in place of the `TokenClassifier` that it was made from, to be scored like it, on the CPU."""

    def __init__(self, path: Path, like: nn.Module):
        import onnxruntime

        super().__init__()
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        self.config, self.classifier = like.config, like.classifier

    def forward(self, input_ids: Tensor, attention_mask: Tensor, slots: Tensor, wanted: Tensor, **_) -> Tensor:
        """(W, K) logits of the `wanted` of the real tokens, which `slots` are."""
        fed = {name: tensor.cpu().numpy() for name, tensor in zip(INPUTS, (input_ids, attention_mask), strict=True)}
        (logits,) = self.session.run([OUTPUT], fed)
        return torch.from_numpy(logits).flatten(0, 1)[slots.cpu()][wanted.cpu()]
