"""docs/scaling.md: what ended moves to another database by the script that stands there."""

import re

import psycopg
import requests

from harness import BINARIES, TOP, Shop, wait_for

SCRIPT = re.search(r"^```sh\n(set -euo pipefail\n.*?)^```$", (TOP / "docs/scaling.md").read_text(), re.MULTILINE | re.DOTALL)[1]
KEPT = ["workflowId", "workflowName", "status", "input", "output", "createTime", "endTime", "correlationId"]


def definition(description: str) -> dict:
    return {
        "name": "greet",
        "description": description,
        "schemaVersion": 2,
        "outputParameters": {"who": "${workflow.input.who}"},
        "tasks": [{"name": "ask", "taskReferenceName": "ask", "type": "HUMAN"}],
    }


def told(run: dict) -> tuple:
    tasks = [(task["taskId"], task["status"], task.get("outputData")) for task in run["tasks"]]
    return {key: run.get(key) for key in KEPT}, tasks


def test_what_ended_moves_to_another_database_and_can_be_rerun_there(shop, tmp_path):
    def put(server: str, description: str) -> None:
        answer = requests.put(f"{server}/api/metadata/workflow", json=[definition(description)], timeout=30)
        answer.raise_for_status()

    def start(who: str) -> str:
        body = {"name": "greet", "input": {"who": who}, "correlationId": who}
        answer = requests.post(f"{shop.url}/api/workflow", json=body, timeout=30)
        answer.raise_for_status()
        return answer.text

    def end(server: str, run: str) -> None:
        # The answer is empty where no such task is open yet.
        url = f"{server}/api/tasks/{run}/ask/COMPLETED"
        wait_for("an open task", lambda: requests.post(url, json={"said": "yes"}, timeout=30).text)

    # One with a text that was replaced, one with today's, one under way.
    put(shop.url, "the first text")
    first = start("Ann")
    end(shop.url, first)
    put(shop.url, "the second text")
    second, open_run = start("Ben"), start("Cem")
    end(shop.url, second)
    before = {id: told(run) for id, run in shop.wait_for_runs([first, second]).items()}

    new = Shop(shop.database_url, tmp_path, f"{psycopg.conninfo.conninfo_to_dict(shop.database_url)['dbname'][:50]}_new", [])
    try:
        new.run(BINARIES / "oms", "import", "--from", shop.url, "--server", new.url)
        new.environment.update(OLD=shop.database_url, NEW=new.database_url, NAMES="greet,other")
        for _ in range(2):
            new.run("bash", "-c", SCRIPT)
        assert new.count("SELECT count(*) FROM oms_engine.workflows") == 2, "the one under way stays"
        assert {id: told(run) for id, run in new.wait_for_runs([first, second]).items()} == before
        texts = {new.get(f"/workflow/{id}")["workflowDefinition"]["description"] for id in (first, second)}
        assert texts == {"the first text", "the second text"}
        assert new.get("/metadata/workflow/greet")["description"] == "the second text"

        requests.post(f"{new.url}/api/workflow/{first}/restart", timeout=30).raise_for_status()
        end(new.url, first)
        again = new.wait_for_runs([first])[first]
        assert (again["status"], len(again["tasks"])) == ("COMPLETED", 1)
        assert shop.get(f"/workflow/{open_run}")["status"] == "RUNNING"
    finally:
        new.close()
