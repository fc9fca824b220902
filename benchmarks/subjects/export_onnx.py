"""Export a classifier to ONNX with optimum, as its documentation does: export_onnx.py MODEL_FOLDER NEW_FOLDER."""

import sys

from optimum.exporters.onnx import main_export

main_export(sys.argv[1], output=sys.argv[2], task="text-classification")
