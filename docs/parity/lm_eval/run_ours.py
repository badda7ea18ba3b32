#!/usr/bin/env python3
"""Runs `lora-moe eval` on the cases of a reference: run_ours.py REFERENCE OURS --program target/release/lora-moe [--only NAMES]

REFERENCE is a folder of cases that run_reference.py wrote, whose command.json names the command line; results go to OURS/CASE. What is there is kept.
"""
import argparse
import json
import os
import shlex
import subprocess
import sys
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference")
    parser.add_argument("ours")
    parser.add_argument("--program", default="target/release/lora-moe")
    parser.add_argument("--only", help="names of cases, comma separated")
    options = parser.parse_args()
    wanted = set(options.only.split(",")) if options.only else None
    failed = []
    for case in sorted(os.listdir(options.reference)):
        reference, output = os.path.join(options.reference, case), os.path.join(options.ours, case)
        if not os.path.exists(f"{reference}/results.json") or (wanted and case not in wanted) or os.path.exists(f"{output}/results.json"):
            continue
        with open(f"{reference}/command.json", encoding="utf-8") as file:
            command = shlex.split(json.load(file)["command"]["lora-moe"])
        command = [options.program, *(output if part == "OUT" else part for part in command[1:])]
        start = time.time()
        result = subprocess.run(command, capture_output=True, text=True)
        print(f"{case}: {time.time() - start:.1f} s", flush=True)
        if result.returncode != 0:
            failed.append(case)
            print(result.stderr.strip().splitlines()[-1], file=sys.stderr, flush=True)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
