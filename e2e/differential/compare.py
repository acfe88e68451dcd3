"""What differs between what came of a case on two servers."""

import json
import re

# Ids of runs and tasks; of tasks, ours name the run and the attempt.
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\.\d+\.\d+\.[\w.-]+)?")
TIME = re.compile(r"\b1[789]\d{11}\b|\b20\d\d-\d\d-\d\dT[\d:.]+Z?\b")
SHAPE = ("ref", "type", "status", "attempt", "iteration")


def plain(came: dict) -> dict:
    """Without ids, times, and what an error is called, which are never the same."""
    return unnamed(json.loads(TIME.sub("0", ID.sub("<id>", json.dumps(came)))))


def unnamed(value: object) -> object:
    if isinstance(value, list):
        return [unnamed(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {key: "<error>" if key == "error" else unnamed(inner) for key, inner in value.items()}


def shape(run: dict) -> list:
    return [[task[key] for key in SHAPE] for task in run["tasks"]]


def differences(ours: dict, theirs: dict) -> dict:
    """By kind, what each has: `unanswered` within a minute, `refused`, `steps` (taken or refused), `runs`, `status`,
    `tasks`, `order`, and where the tasks are the same `inputs`, `outputs`, `reasons`, `domains`; of the run `output`,
    `variables`, `reason`."""
    ours, theirs = plain(ours), plain(theirs)
    found: dict = {}

    def note(kind: str, where: str, one: object, other: object) -> None:
        if one != other:
            found.setdefault(kind, []).append({"where": where, "oms": one, "conductor": other})

    if "unanswered" in ours or "unanswered" in theirs:
        note("unanswered", "", "unanswered" in ours, "unanswered" in theirs)
        return found
    if "refused" in ours or "refused" in theirs:
        if ("refused" in ours) != ("refused" in theirs):
            note("refused", "", ours.get("refused", "taken"), theirs.get("refused", "taken"))
        return found
    note("steps", "", ours["told"], theirs["told"])
    note("endless", "", ours.get("endless", False), theirs.get("endless", False))
    runs = [sorted(came["runs"][1:], key=lambda run: (run["name"], json.dumps(run))) for came in (ours, theirs)]
    runs = [[came["runs"][0], *others] for came, others in zip((ours, theirs), runs)]
    note("runs", "", *[[run["name"] for run in of] for of in runs])
    for one, other in zip(*runs):
        if one["name"] != other["name"]:
            break
        run(note, one, other)
    return found


def run(note: object, one: dict, other: dict) -> None:
    where = one["name"]
    note("status", where, one["status"], other["status"])
    if shape(one) != shape(other):
        same = sorted(map(str, shape(one))) == sorted(map(str, shape(other)))
        note("order" if same else "tasks", where, shape(one), shape(other))
        return
    for a, b in zip(one["tasks"], other["tasks"]):
        name = f"{where}/{a['ref']}"
        note("inputs", name, a["input"], b["input"])
        note("outputs", name, a["output"], b["output"])
        note("domains", name, a["domain"], b["domain"])
        note("reasons", name, bool(a["reason"]), bool(b["reason"]))
    note("output", where, one["output"], other["output"])
    note("variables", where, one["variables"], other["variables"])
    note("reason", where, bool(one["reason"]), bool(other["reason"]))


def unexpected(case: dict, came: dict) -> str:
    """Where what came of a case on our server is not what the case expects; empty if it is."""
    if "unanswered" in came:
        return "no answer"
    if "refused" in case or "refused" in came:
        return "" if "refused" in case and "refused" in came else f"refused: {came.get('refused', 'no')}"
    expected, first = case["expect"], came["runs"][0]
    if expected["status"] != first["status"]:
        return f"status: expected {expected['status']}, found {first['status']}"
    keys = {"ref": "", "type": "", "status": "", "attempt": 0, "iteration": 0}
    tasks = [[task.get(key, empty) for key, empty in keys.items()] for task in expected["tasks"]]
    found = shape(first)
    # Cases do not say which turn a loop is in.
    for task in [*tasks, *found]:
        task[4] = task[4] if task[1] != "DO_WHILE" else 0
    return "" if tasks == found else f"tasks: expected {tasks}, found {found}"
