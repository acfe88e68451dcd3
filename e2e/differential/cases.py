"""The conformance cases, made fit for a server that others use too."""

import json
import re
import time
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "oms-engine/tests/conformance/cases"
WORKERS = ("t", "u", "v")
# Time is real here.
SECONDS_MAX = 250
SECONDS = (
    "retryDelaySeconds",
    "timeoutSeconds",
    "responseTimeoutSeconds",
    "pollTimeoutSeconds",
    "totalTimeoutSeconds",
    "startDelay",
    "callbackAfterSeconds",
)
HARMFUL = ("takes_all_memory", "calls_itself_without_end")
# What stands in these is the name of a step, which is nobody else's.
STEPS = ("taskReferenceName", "joinOn", "defaultExclusiveJoinTask", "taskRefName")
# Between two attempts, where no task definition says how long.
RETRY_DELAY = 60


def load() -> list:
    cases = []
    for file in sorted(FOLDER.glob("*.json")):
        for case in json.loads(file.read_text()):
            cases.append({**case, "file": file.stem})
    for case in cases:
        case["definition"] = complete(case["definition"])
        case["workflows"] = complete(case.get("workflows", []))
    # Another one each time, so that a server can be used again.
    tag = f"x{int(time.time()):x}_"
    return [{**case, "prefix": f"{tag}{number:03}_"} for number, case in enumerate(cases)]


def complete(value: object) -> object:
    """With what Conductor asks for at registration: a loop over a list has a condition, too."""
    if isinstance(value, list):
        return [complete(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    value = {key: complete(inner) for key, inner in value.items()}
    over_a_list = value.get("type") == "DO_WHILE" and "items" in value
    return {"loopCondition": "true", **value} if value.get("type") == "DO_WHILE" else value


def not_played(case: dict) -> str:
    """Why a case is not for two servers; empty if it is."""
    if any(part in case["name"] for part in HARMFUL):
        return "would take a Conductor's memory or a thread of it for ever"
    steps = [key for step in case.get("steps", []) for key in step]
    if case["file"] == "compensation":
        return "an extension: Conductor has no compensation"
    if case["file"] in ("env", "secrets"):
        return "what the server is given at its start, each in its own way"
    if case["file"] == "limits" and "rateLimitPerFrequency" in json.dumps(case):
        return "Conductor keeps rate limits on Redis and Cassandra alone"
    if "event" in steps:
        return "no call of the API publishes an event"
    if "setVariables" in steps:
        return "no call of the API sets variables"
    if case.get("schemas"):
        return "no call of the API registers a schema"
    if "is_waited_for" in case["name"] or '"responseTimeoutSeconds": 1,' in json.dumps(case):
        return "asks for a moment exactly to the second"
    if seconds(case) > SECONDS_MAX:
        return f"takes more than {SECONDS_MAX} s"
    return ""


def seconds(case: dict) -> float:
    """How long the case takes where time cannot be moved, and no more."""
    advanced = sum(step.get("advance", 0) for step in case.get("steps", []))
    longest = [0.0]

    def look(value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in SECONDS and isinstance(inner, (int, float)):
                    longest.append(inner)
                if key in ("duration", "startDelay", *SECONDS) and isinstance(inner, str):
                    longest.append(spoken(inner))
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    for part in ("taskDefinitions", "workflows", "definition", "start", "workers"):
        look(case.get(part))
    texts = json.dumps([case.get("taskDefinitions"), case["definition"], case.get("workflows")])
    retried = "FAILED" in json.dumps(case.get("workers", {})) or '"fail"' in json.dumps(case.get("steps", []))
    if (retried or '"retryCount"' in texts) and "retryDelaySeconds" not in texts:
        longest.append(RETRY_DELAY)
    return advanced + max(longest)


def spoken(text: str) -> float:
    """Of `2 hours 5 seconds`; nothing if it is another text."""
    units = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
    return sum(float(n) * units[unit] for n, unit in re.findall(r"(\d+)\s*([dhms])", text))


class Names:
    """Gives all that a case registers a name of its own, and takes it off what came of it."""

    def __init__(self, case: dict):
        definitions = [*case.get("workflows", []), case["definition"]]
        self.prefix = case["prefix"]
        self.workflows = {definition["name"] for definition in definitions}
        given = case.get("taskDefinitions", []) + case.get("eventHandlers", [])
        self.named = self.workflows | set(WORKERS) | {definition["name"] for definition in given}

    def put(self, value: object, key: str = "") -> object:
        if isinstance(value, dict):
            own = (lambda name: self.prefix + name if name in WORKERS else name) if key == "taskToDomain" else str
            return {own(name): self.put(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.put(inner, key) for inner in value]
        if not isinstance(value, str) or key in STEPS:
            return value
        if key == "event":
            parts = [self.prefix + part if part in self.workflows else part for part in value.split(":")]
            return ":".join(parts)
        known = self.named if key == "name" else self.workflows | set(WORKERS)
        return self.prefix + value if value in known else value

    def take(self, value: object) -> object:
        return json.loads(json.dumps(value).replace(self.prefix, ""))
