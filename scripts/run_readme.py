#!/usr/bin/env python3
"""Runs every ```sh block of the given documents from the top of the clone, in order, in one shell each.

A block that a reader may skip is fenced as ```console and is not run. Prints each command; ends at the first that fails.
"""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

for name in sys.argv[1:] or ["README.md"]:
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)
    if not blocks:
        sys.exit(f"{name}: no sh block in it")
    for number, block in enumerate(blocks, 1):
        print(f"--- {name}, block {number} of {len(blocks)}", flush=True)
        result = subprocess.run(["bash", "-euxo", "pipefail", "-c", block], cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
        if result.returncode:
            sys.exit(f"{name}, block {number}: failed with {result.returncode}")
print("every command worked")
