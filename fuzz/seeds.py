#!/usr/bin/env python3
"""Writes what the conformance cases hold as first inputs of a fuzz target: definitions for
`definition`, texts with expressions for the others."""

import glob
import json
import os
import sys

folder = sys.argv[1]
here = os.path.dirname(os.path.abspath(__file__))
target = os.path.basename(os.path.normpath(folder))


def texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


seeds = set()
for name in glob.glob(os.path.join(here, "../oms-engine/tests/conformance/cases/*.json")):
    with open(name, encoding="utf-8") as file:
        for case in json.load(file):
            definition = case["definition"]
            if target == "definition":
                seeds.add(json.dumps(definition))
            elif target == "template":
                seeds.update(json.dumps(text) for text in texts(definition) if "${" in text)
            else:
                found = (text for text in texts(definition) if text.startswith("${"))
                seeds.update(text[2:-1].removeprefix("workflow.input") for text in found)
os.makedirs(folder, exist_ok=True)
for number, seed in enumerate(sorted(seeds)):
    if len(seed) < 8192:
        with open(os.path.join(folder, f"seed{number}"), "w", encoding="utf-8") as file:
            file.write(seed)
