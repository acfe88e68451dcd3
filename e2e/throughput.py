"""How many runs of five tasks a server gets through with five workers of the official SDK for Python, and how
long one takes alone.

Usage: throughput.py URL [--runs N] [--warm-up N] [--alone N]     prints one JSON object

Five processes, one for each task, ten threads each (the SDK's own way to work on more at once). A task
does nothing: 200 bytes of input, 50 of output. All runs are started first come, first served by eight clients
while the workers work; the time is from the first start to the last end, by the server's clock.
"""

import argparse
import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from conductor.client.automator.task_handler import TaskHandler
from conductor.client.configuration.configuration import Configuration
from conductor.client.http.models import StartWorkflowRequest, TaskDef, WorkflowDef, WorkflowTask
from conductor.client.orkes_clients import OrkesClients
from conductor.client.worker.worker_task import worker_task

THREADS = 10
STEPS = ["bench_1", "bench_2", "bench_3", "bench_4", "bench_5"]
ENDED = ("COMPLETED", "FAILED", "TERMINATED", "TIMED_OUT")


def work(payload: str) -> dict:
    return {"payload": payload[:38]}


@worker_task(task_definition_name=STEPS[0], thread_count=THREADS)
def first(payload: str) -> dict:
    return work(payload)


@worker_task(task_definition_name=STEPS[1], thread_count=THREADS)
def second(payload: str) -> dict:
    return work(payload)


@worker_task(task_definition_name=STEPS[2], thread_count=THREADS)
def third(payload: str) -> dict:
    return work(payload)


@worker_task(task_definition_name=STEPS[3], thread_count=THREADS)
def fourth(payload: str) -> dict:
    return work(payload)


@worker_task(task_definition_name=STEPS[4], thread_count=THREADS)
def fifth(payload: str) -> dict:
    return work(payload)


class Bench:
    def __init__(self, url: str):
        self.configuration = Configuration(server_api_url=f"{url}/api", log_level="ERROR")
        clients = OrkesClients(configuration=self.configuration)
        self.metadata, self.workflows = clients.get_metadata_client(), clients.get_workflow_client()

    def register(self) -> None:
        for name in STEPS:
            self.metadata.register_task_def(TaskDef(name=name, timeout_seconds=600, response_timeout_seconds=300))
        tasks = [
            WorkflowTask(
                name=name,
                task_reference_name=name,
                type="SIMPLE",
                input_parameters={"payload": "${workflow.input.payload}"},
            )
            for name in STEPS
        ]
        definition = WorkflowDef(name="bench", version=1, tasks=tasks, schema_version=2, timeout_seconds=0)
        definition.owner_email = "bench@example.com"
        self.metadata.register_workflow_def(definition, overwrite=True)

    def start(self, _: int = 0) -> str:
        request = StartWorkflowRequest(name="bench", version=1, input={"payload": "x" * 187})
        return self.workflows.start_workflow(request)

    def end(self, workflow_id: str, pause: float):
        while True:
            run = self.workflows.get_workflow(workflow_id, include_tasks=False)
            if run.status in ENDED:
                if run.status != "COMPLETED":
                    sys.exit(f"{workflow_id} is {run.status}")
                return run
            time.sleep(pause)

    def drain(self, runs: int) -> float:
        """Runs a second."""
        with ThreadPoolExecutor(8) as clients:
            ids = list(clients.map(self.start, range(runs)))
        # The last one first: asking is work for the server too.
        ended = [self.end(workflow_id, 0.25) for workflow_id in reversed(ids)]
        span = max(run.end_time for run in ended) - min(run.start_time or run.create_time for run in ended)
        return runs * 1000 / span

    def alone(self, runs: int) -> list:
        """Milliseconds from the start call to the end, by the server's clock, one at a time."""
        ended = [self.end(self.start(), 0.05) for _ in range(runs)]
        return sorted(run.end_time - (run.start_time or run.create_time) for run in ended)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--warm-up", type=int, default=100)
    parser.add_argument("--alone", type=int, default=30)
    options = parser.parse_args()
    bench = Bench(options.url)
    bench.register()
    with TaskHandler(workers=[], configuration=bench.configuration) as handler:
        handler.start_processes()
        bench.drain(options.warm_up)
        rate = bench.drain(options.runs)
        alone = bench.alone(options.alone)
    figures = {
        "runs": options.runs,
        "runs_per_second": round(rate, 1),
        "alone_ms_median": statistics.median(alone),
        "alone_ms_p95": alone[len(alone) * 95 // 100],
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
