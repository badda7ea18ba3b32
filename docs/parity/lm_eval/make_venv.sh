#!/usr/bin/env bash
# Makes the Python environment of the comparison with the LM evaluation harness: make_venv.sh FOLDER
# Several GB: PyPI's torch brings its CUDA libraries along. A wheel of torch for the CPU serves as well; install it first.
set -euo pipefail
venv=${1:?"usage: make_venv.sh FOLDER"}
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --upgrade pip
"$venv/bin/pip" install --quiet "lm_eval==0.4.13" torch transformers accelerate peft datasets pyyaml
"$venv/bin/python" - <<'PY'
import lm_eval, torch, transformers, datasets
from importlib.metadata import version
print("lm_eval", version("lm_eval"), "torch", torch.__version__, "transformers", transformers.__version__, "datasets", datasets.__version__)
PY
