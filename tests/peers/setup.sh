#!/bin/sh
# Usage: setup.sh VENV: a virtual environment with the public programs that exports are compared with. Gigabytes, for torch's sake, so
# no part of the test suite.
set -eu
python3 -m venv "$1"
"$1/bin/pip" install --quiet numpy safetensors tokenizers transformers peft torch compressed-tensors lm-eval==0.4.13
