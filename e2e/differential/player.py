"""Plays one case on one server, in real time: one worker's task ends at a time, the lowest sequence number first."""

import json
import time
from typing import NamedTuple

from api import Refused, Server
from cases import WORKERS, Names, seconds

ENDED = ("COMPLETED", "FAILED", "TERMINATED", "TIMED_OUT")
OPEN = ("SCHEDULED", "IN_PROGRESS")
RUNS_MAX = 20
# In seconds. Short enough for leases of one second.
LOOK = 0.3
OWNER = "conformance@example.com"


class Habits(NamedTuple):
    """What is to be known of a server."""

    # After so many seconds without a change it has nothing left to do at once.
    quiet: float
    # So many seconds after a handler was registered it has heard of it.
    handlers: float
    # Cases that are played at once.
    at_once: int


class Player:
    def __init__(self, server: Server, case: dict, stand_in: object, habits: Habits, root: str):
        self.server, self.quiet, self.habits = server, habits.quiet, habits
        self.names = Names(case)
        url = stand_in.serve(root, case.get("http", {}))
        self.stand_in_url = url
        case = json.loads(json.dumps(case).replace("<standIn>", url))
        self.case = {**case, "start": {"input": {}, **case.get("start", {})}}
        self.held: dict = {}
        self.known: list = []
        self.told: list = []

    def play(self) -> dict:
        """What came of it: `refused`, or every run with its tasks."""
        try:
            self.begin()
        except Refused as no:
            return {"refused": str(no)}
        try:
            return self.go_on()
        finally:
            # Lest a server that delivers an event again and again never comes to rest.
            for handler in self.names.put(self.case.get("eventHandlers", [])):
                self.server.call("DELETE", f"/event/{handler['name']}")

    def go_on(self) -> dict:
        steps = list(self.case.get("steps", []))
        # Some change for ever.
        until = time.monotonic() + 2 * seconds(self.case) + 60
        while time.monotonic() < until:
            self.settle()
            if self.end_next():
                continue
            if steps:
                self.told.append(self.step(steps.pop(0)))
                continue
            if not self.wait_for_time():
                return {"told": self.told, "runs": self.result()}
        return {"told": self.told, "runs": self.result(), "endless": True}

    def begin(self) -> None:
        put, case = self.names.put, self.case
        tasks = [{"ownerEmail": OWNER, **definition} for definition in put(case.get("taskDefinitions", []))]
        if tasks:
            self.server.call("POST", "/metadata/taskdefs", tasks)
        definitions = [*put(case.get("workflows", [])), put(case["definition"])]
        self.server.call("PUT", "/metadata/workflow", [{"ownerEmail": OWNER, **d} for d in definitions])
        for handler in put(case.get("eventHandlers", [])):
            self.server.call("POST", "/event", handler)
        if case.get("eventHandlers"):
            time.sleep(self.habits.handlers)
        # The workers of the domains have asked for work just now.
        for task, domain in self.queues():
            self.server.poll(task, domain)
        start = put(case["start"])
        request = {"name": definitions[-1]["name"], "version": definitions[-1].get("version", 1), **start}
        if not request["input"]:
            del request["input"]
        self.id = self.server.call("POST", "/workflow", request).strip()
        self.known.append(self.id)

    def queues(self) -> list:
        of = [(self.names.prefix + task, None) for task in WORKERS if f'"{task}"' in json.dumps(self.case)]
        serves = self.case.get("serves", {})
        return of + [(self.names.prefix + task, domain) for task in serves for domain in serves[task]]

    def settle(self) -> None:
        """Polls until nothing comes and nothing has changed for a while."""
        seen, since = None, time.monotonic()
        while True:
            came = [task for queue in self.queues() for task in self.server.poll(*queue)]
            for task in came:
                self.held[task["taskId"]] = task
                if task["workflowInstanceId"] not in self.known:
                    self.known.append(task["workflowInstanceId"])
            now = self.look()
            if came or now != seen:
                seen, since = now, time.monotonic()
                continue
            if time.monotonic() - since >= (self.quiet if self.busy() else min(self.quiet, 0.5)):
                return
            self.decide()
            time.sleep(0.1)

    def decide(self) -> None:
        """A server that looks at runs from time to time looks now, and hears that what is held is worked on."""
        for id, task in self.held.items():
            lease = {"taskId": id, "workflowInstanceId": task["workflowInstanceId"], "status": "IN_PROGRESS"}
            try:
                self.server.call("POST", "/tasks", {**lease, "workerId": "player", "extendLease": True})
            except Refused:
                pass
        for id in self.known:
            try:
                self.server.call("PUT", f"/workflow/decide/{id}")
            except Refused:
                pass

    def look(self) -> list:
        """How all known runs stand; finds those that their tasks have started."""
        self.runs = []
        for id in self.known:
            run = self.server.run(id)
            self.runs.append(run)
            for task in run["tasks"]:
                output = task.get("outputData") or {}
                child = task.get("subWorkflowId") or output.get("subWorkflowId")
                for other in (child, output.get("workflowId") if task["taskType"] == "START_WORKFLOW" else None):
                    if other and other not in self.known:
                        self.known.append(other)
            other = (run.get("output") or {}).get("conductor.failure_workflow")
            if other and other not in self.known:
                self.known.append(other)
        return [
            (run["status"], [(t["referenceTaskName"], t["status"], t.get("retryCount", 0)) for t in run["tasks"]])
            for run in self.runs
        ]

    def busy(self) -> bool:
        """Whether the server itself may be at work on a task."""
        worked_on = {self.names.prefix + task for task in WORKERS} | {"HUMAN", "WAIT"}
        return any(
            task["status"] in OPEN and task["taskType"] not in worked_on
            for run in self.runs
            if run["status"] not in ENDED
            for task in run["tasks"]
        )

    def end_next(self) -> bool:
        """Ends the first task that is held and that the case does not hold on to."""
        for id, task in sorted(self.held.items(), key=lambda held: held[1].get("seq") or 0):
            listed = self.case.get("workers", {}).get(task["referenceTaskName"], [])
            number = task.get("retryCount") or 0
            outcome = listed[number] if number < len(listed) else {}
            if outcome != "HOLD":
                del self.held[id]
                self.report(task, outcome)
                return True
        return False

    def report(self, task: dict, outcome: dict) -> None:
        outcome = self.names.put(outcome)
        self.server.call(
            "POST",
            "/tasks",
            {
                "taskId": task["taskId"],
                "workflowInstanceId": task["workflowInstanceId"],
                "workerId": "player",
                "status": outcome.get("status", "COMPLETED"),
                "outputData": outcome.get("output", {}),
                "reasonForIncompletion": outcome.get("reason"),
                "callbackAfterSeconds": outcome.get("callbackAfterSeconds", 0),
            },
        )

    def step(self, step: dict) -> str:
        """Out: whether the server would have it."""
        try:
            self.act(step)
            return "done"
        except Refused:
            return "refused"

    def act(self, step: dict) -> None:
        id = self.id
        for name in step["in"].split("/") if "in" in step else ():
            id = self.child(id, name)
        call, put = self.server.call, self.names.put
        if "advance" in step:
            until = time.monotonic() + step["advance"]
            while time.monotonic() < until:
                time.sleep(max(0.0, min(LOOK, until - time.monotonic())))
                self.decide()
        elif name := step.get("complete") or step.get("fail") or step.get("update"):
            failed = "FAILED_WITH_TERMINAL_ERROR" if step.get("terminal") else "FAILED"
            status = "COMPLETED" if "complete" in step else "IN_PROGRESS" if "update" in step else failed
            task = self.open_task(id, name)
            self.held.pop(task["taskId"], None)
            self.report(task, {"status": status, "output": step.get("output", {}), "reason": step.get("reason")})
        elif "terminate" in step:
            call("DELETE", f"/workflow/{id}", reason=step["terminate"])
        elif "retry" in step:
            resume = isinstance(step["retry"], dict) and step["retry"].get("resumeSubworkflowTasks")
            call("POST", f"/workflow/{id}/retry", resumeSubworkflowTasks="true" if resume else "false")
        elif "rerun" in step:
            call("POST", f"/workflow/{id}/rerun", self.rerun(id, step))
        elif "skip" in step:
            body = {"taskInput": put(step.get("input", {})), "taskOutput": put(step.get("output", {}))}
            call("PUT", f"/workflow/{id}/skiptask/{step['skip']}", body)
        elif "signal" in step:
            call("POST", f"/tasks/{id}/COMPLETED/signal", put(step.get("output", {})))
        elif "pause" in step or "resume" in step:
            call("PUT", f"/workflow/{id}/{'pause' if 'pause' in step else 'resume'}")
        elif "restart" in step:
            call("POST", f"/workflow/{id}/restart", useLatestDefinitions="false")
        elif "resetCallbacks" in step:
            call("POST", f"/workflow/{id}/resetcallbacks")
        else:
            raise AssertionError(f"{step} is no step")

    def rerun(self, id: str, step: dict) -> dict:
        of = id
        for name in step["of"].split("/") if "of" in step else ():
            of = self.child(of, name)
        request = {"reRunFromWorkflowId": id, "correlationId": step.get("correlationId")}
        if step["rerun"]:
            tasks = [task for task in self.server.run(of)["tasks"] if task["referenceTaskName"] == step["rerun"]]
            if not tasks:
                raise Refused(f"no task {step['rerun']}")
            request["reRunFromTaskId"] = tasks[-1]["taskId"]
        for ours, theirs in (("input", "taskInput"), ("workflowInput", "workflowInput")):
            if ours in step:
                request[theirs] = self.names.put(step[ours])
        return request

    def open_task(self, id: str, name: str) -> dict:
        tasks = [task for task in self.server.run(id)["tasks"] if task["referenceTaskName"] == name]
        if not tasks:
            raise Refused(f"no task {name}")
        return {"workflowInstanceId": id, **next((t for t in tasks if t["status"] in OPEN), tasks[-1])}

    def child(self, id: str, name: str) -> str:
        for task in reversed(self.server.run(id)["tasks"]):
            child = task.get("subWorkflowId") or (task.get("outputData") or {}).get("subWorkflowId")
            if task["referenceTaskName"] == name and child:
                return child
        raise Refused(f"no child {name}")

    def wait_for_time(self) -> bool:
        """Waits for what is due later. False: nothing was."""
        if all(run["status"] in ENDED for run in self.runs):
            return False
        before, until = self.look(), time.monotonic() + seconds(self.case) + 5
        while time.monotonic() < until:
            self.decide()
            time.sleep(LOOK)
            if self.look() != before:
                return True
            if any(self.receive(queue) for queue in self.queues()):
                return True
        return False

    def receive(self, queue: tuple) -> bool:
        came = self.server.poll(*queue)
        self.held.update({task["taskId"]: task for task in came})
        return bool(came)

    def result(self) -> list:
        names = [self.names.prefix + name for name in sorted(self.names.workflows)]
        time.sleep(self.quiet)
        for id in self.server.runs_of(names)[:RUNS_MAX]:
            if id not in self.known:
                self.known.append(id)
        self.look()
        return [self.shown(run) for run in self.runs]

    def shown(self, run: dict) -> dict:
        tasks = [
            {
                "ref": task["referenceTaskName"],
                "type": task["taskType"],
                "status": task["status"],
                "attempt": task.get("retryCount") or 0,
                "iteration": task.get("iteration") or 0,
                "domain": task.get("domain") or "",
                "input": task.get("inputData") or {},
                "output": task.get("outputData") or {},
                "reason": task.get("reasonForIncompletion") or "",
            }
            for task in run["tasks"]
        ]
        keys = {"name": run.get("workflowName"), "status": run["status"], "output": run.get("output") or {}}
        keys |= {"variables": run.get("variables") or {}, "reason": run.get("reasonForIncompletion") or ""}
        text = json.dumps({**keys, "tasks": tasks}).replace(self.stand_in_url, "<standIn>")
        return self.names.take(json.loads(text))
