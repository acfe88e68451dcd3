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


def found(value, keys):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for key in keys:
        if isinstance(value, dict) and isinstance(value.get(key), str):
            yield value[key]
    for one in inner:
        yield from found(one, keys)


seeds = set()
for name in glob.glob(os.path.join(here, "../oms-engine/tests/conformance/cases/*.json")):
    with open(name, encoding="utf-8") as file:
        for case in json.load(file):
            definition = case["definition"]
            if target == "definition":
                seeds.add(json.dumps(definition))
            elif target == "query":
                keys = ("expression", "queryExpression", "scriptExpression", "loopCondition")
                seeds.update(found(definition, keys))
            elif target == "template":
                seeds.update(json.dumps(text) for text in texts(definition) if "${" in text)
            else:
                paths = (text for text in texts(definition) if text.startswith("${"))
                seeds.update(text[2:-1].removeprefix("workflow.input") for text in paths)
os.makedirs(folder, exist_ok=True)
for number, seed in enumerate(sorted(seeds)):
    if len(seed) < 8192:
        with open(os.path.join(folder, f"seed{number}"), "w", encoding="utf-8") as file:
            file.write(seed)
