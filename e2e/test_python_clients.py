"""What else the official SDK for Python offers besides workers: operators' and polling clients, unmodified."""

import pytest
from conductor.client.configuration.configuration import Configuration
from conductor.client.http.models import (
    RerunWorkflowRequest,
    SkipTaskRequest,
    StartWorkflowRequest,
    TaskDef,
    TaskResult,
    WorkflowDef,
    WorkflowTask,
)
from conductor.client.http.api.task_resource_api import TaskResourceApi
from conductor.client.http.api_client import ApiClient
from conductor.client.http.models.save_schedule_request import SaveScheduleRequest
from conductor.client.http.models.workflow_test_request import WorkflowTestRequest
from conductor.client.http.rest import ApiException
from conductor.client.orkes_clients import OrkesClients

NAME = "tour"
TASKS = ["tour_1", "tour_2"]


class Tour:
    def __init__(self, url: str):
        self.configuration = Configuration(server_api_url=f"{url}/api", log_level="WARNING")
        clients = OrkesClients(configuration=self.configuration)
        self.metadata = clients.get_metadata_client()
        self.workflows = clients.get_workflow_client()
        self.tasks = clients.get_task_client()
        self.schedules = clients.get_scheduler_client()
        for name in TASKS:
            self.metadata.register_task_def(TaskDef(name=name, retry_count=0, timeout_seconds=60, response_timeout_seconds=30))
        self.metadata.register_workflow_def(self.definition(), overwrite=True)

    def definition(self) -> WorkflowDef:
        tasks = [
            WorkflowTask(name=name, task_reference_name=name, type="SIMPLE", input_parameters={"n": "${workflow.input.n}"})
            for name in TASKS
        ]
        return WorkflowDef(name=NAME, version=1, tasks=tasks, schema_version=2, timeout_seconds=0)

    def start(self, **more: object) -> str:
        return self.workflows.start_workflow(StartWorkflowRequest(name=NAME, version=1, input={"n": 7}, **more))

    def status(self, id: str) -> str:
        return self.workflows.get_workflow_status(id).status

    def end_task(self, task_type: str, status: str = "COMPLETED", **output: object) -> str:
        task = self.tasks.poll_task(task_type, worker_id="tour")
        assert task.input_data == {"n": 7}
        result = TaskResult(
            task_id=task.task_id,
            workflow_instance_id=task.workflow_instance_id,
            worker_id="tour",
            status=status,
            output_data=output,
        )
        self.tasks.update_task(result)
        return task.task_id


@pytest.fixture
def tour(shop):
    return Tour(shop.url)


def test_definitions_are_kept_changed_and_removed(tour):
    kept = tour.metadata.get_task_def("tour_1")
    assert (kept.name, kept.retry_count, kept.timeout_seconds) == ("tour_1", 0, 60)
    tour.metadata.update_task_def(TaskDef(name="tour_1", retry_count=2, timeout_seconds=60, response_timeout_seconds=30))
    assert tour.metadata.get_task_def("tour_1").retry_count == 2
    assert sorted(d.name for d in tour.metadata.get_all_task_defs()) == TASKS
    assert [task.name for task in tour.metadata.get_workflow_def(NAME).tasks] == TASKS
    changed = tour.definition()
    changed.description = "another"
    tour.metadata.update_workflow_def(changed)
    assert [d.description for d in tour.metadata.get_all_workflow_defs()] == ["another"]
    tour.metadata.unregister_workflow_def(NAME, 1)
    tour.metadata.unregister_task_def("tour_1")
    with pytest.raises(ApiException) as missing:
        tour.metadata.get_workflow_def(NAME)
    assert missing.value.status == 404


def test_a_run_is_polled_logged_and_completed(tour):
    id = tour.start(correlation_id="c-1", priority=3)
    assert tour.tasks.get_queue_size_for_task("tour_1") == 1
    first = tour.end_task("tour_1", done=1)
    tour.tasks.add_task_log(first, "a line")
    assert [line.log for line in tour.tasks.get_task_logs(first)] == ["a line"]
    assert tour.tasks.get_task(first).output_data == {"done": 1}
    [second] = tour.tasks.batch_poll_tasks("tour_2", worker_id="tour", count=5, timeout_in_millisecond=100)
    assert tour.tasks.batch_poll_tasks("tour_2", worker_id="tour", count=5, timeout_in_millisecond=100) == []
    # The SDK wraps what it sends here.
    tour.tasks.update_task_by_ref_name(id, second.reference_task_name, "COMPLETED", 2)
    run = tour.workflows.get_workflow(id, include_tasks=True)
    assert (run.status, run.output, run.correlation_id, run.priority) == ("COMPLETED", {"result": 2}, "c-1", 3)
    found = tour.workflows.get_by_correlation_ids(NAME, ["c-1", "c-2"], include_completed=True, include_tasks=True)
    assert {key: [run.workflow_id for run in runs] for key, runs in found.items()} == {"c-1": [id], "c-2": []}
    searched = tour.workflows.search(query="correlationId = 'c-1' AND status = 'COMPLETED'", size=5)
    assert [run.workflow_id for run in searched.results] == [id]
    status = tour.workflows.get_workflow_status(id, include_output=True, include_variables=True)
    assert (status.status, status.output, status.variables) == ("COMPLETED", {"result": 2}, {})


def test_operators_pause_terminate_retry_rerun_restart_and_skip(tour):
    id = tour.start()
    tour.workflows.pause_workflow(id)
    assert tour.status(id) == "PAUSED"
    tour.workflows.resume_workflow(id)
    tour.workflows.skip_task_from_workflow(id, "tour_2", SkipTaskRequest(task_output={"skipped": True}))
    tour.end_task("tour_1")
    assert tour.status(id) == "COMPLETED"
    id = tour.start()
    tour.end_task("tour_1", status="FAILED")
    assert tour.status(id) == "FAILED"
    tour.workflows.retry_workflow(id)
    first = tour.end_task("tour_1")
    tour.end_task("tour_2")
    assert tour.status(id) == "COMPLETED"
    tour.workflows.rerun_workflow(id, RerunWorkflowRequest(re_run_from_task_id=first))
    assert tour.status(id) == "RUNNING"
    tour.workflows.terminate_workflow(id, reason="enough")
    run = tour.workflows.get_workflow(id)
    assert (run.status, run.reason_for_incompletion) == ("TERMINATED", "enough")
    tour.workflows.restart_workflow(id)
    assert tour.status(id) == "RUNNING"
    with pytest.raises(ApiException) as refused:
        tour.workflows.restart_workflow(id)
    assert refused.value.status == 409


def test_runs_are_waited_for_signalled_and_removed(tour):
    wait = WorkflowTask(name="ask", task_reference_name="ask", type="WAIT")
    asks = WorkflowDef(name="asks", version=1, tasks=[wait], schema_version=2, timeout_seconds=0)
    asks.output_parameters = {"answer": "${ask.output.answer}"}
    tour.metadata.register_workflow_def(asks, overwrite=True)
    start = StartWorkflowRequest(name="asks", version=1, input={})
    waits = tour.workflows.execute_workflow_with_return_strategy(start, return_strategy="BLOCKING_TASK")
    assert (waits.response_type, waits.reference_task_name) == ("BLOCKING_TASK", "ask")
    signals = TaskResourceApi(ApiClient(tour.configuration))
    id = waits.target_workflow_id
    ended = signals.signal_workflow_task_sync(id, "COMPLETED", {"answer": 42}, return_strategy="TARGET_WORKFLOW")
    assert (ended.target_workflow_status, ended.output) == ("COMPLETED", {"answer": 42})
    # It can be signalled as soon as it has been started.
    second = tour.workflows.start_workflow(start)
    signals.signal_workflow_task_async(second, "COMPLETED", {"answer": 43})
    assert tour.status(second) == "COMPLETED"
    first = tour.workflows.execute_workflow(
        StartWorkflowRequest(name="asks", version=1, input={}), request_id="r-1", wait_until_task_ref="ask", wait_for_seconds=1
    )
    assert (first.request_id, first.status) == ("r-1", "RUNNING")
    tour.workflows.terminate_workflow(first.workflow_id, reason="enough")
    for ended in (id, second, first.workflow_id):
        tour.workflows.delete_workflow(ended, archive_workflow=False)
        with pytest.raises(ApiException) as missing:
            tour.workflows.get_workflow(ended)
        assert missing.value.status == 404


def test_a_definition_is_tried_with_mocks(tour):
    mocks = {"tour_1": [{"status": "COMPLETED", "output": {"a": 1}}], "tour_2": [{"output": {"b": 2}}]}
    request = WorkflowTestRequest(name=NAME, version=1, input={"n": 7}, task_ref_to_mock_output=mocks)
    run = tour.workflows.test_workflow(request)
    assert (run.status, run.output) == ("COMPLETED", {"b": 2})
    assert [task.output_data for task in run.tasks] == [{"a": 1}, {"b": 2}]


def test_schedules_are_kept_paused_and_removed(tour):
    start = StartWorkflowRequest(name=NAME, version=1, input={"n": 7})
    tour.schedules.save_schedule(
        SaveScheduleRequest(name="nightly", cron_expression="0 0 2 * * *", start_workflow_request=start)
    )
    assert tour.schedules.get_schedule("nightly").cron_expression == "0 0 2 * * *"
    tour.schedules.pause_schedule("nightly")
    assert [schedule.paused for schedule in tour.schedules.get_all_schedules()] == [True]
    tour.schedules.resume_schedule("nightly")
    assert tour.schedules.get_schedule("nightly").paused is False
    tour.schedules.delete_schedule("nightly")
    assert tour.schedules.get_all_schedules() == []
