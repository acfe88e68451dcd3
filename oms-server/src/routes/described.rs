//! What each endpoint takes and gives, for the `OpenAPI` document. A test holds it to the table of
//! routes.

/// An endpoint, what it does, its parameters behind the path, its body and its answer.
///
/// A parameter is text unless `:int` or `:bool` follows; with `!` it must be there, with `[]` it
/// may be there more than once. A body is empty, a schema by its name, `object`, `strings` (a list
/// of texts) or `text`. An answer is `json`, `list`, `text`, `none` (200 without a body) or `204`;
/// with `?` there may also be none, 204.
pub(super) type Described = (&'static str, &'static str, &'static str, &'static str, &'static str);

const SEARCH: &str = "start:int size:int sort freeText query topLevelOnly:bool";
const SEARCH_TASKS: &str = "start:int size:int sort freeText query";
const ARCHIVE: &str = "archiveWorkflow:bool";
const END: &str = "reason archiveWorkflow:bool";
const WAIT: &str = "requestId waitUntilTaskRef waitForSeconds:int consistency returnStrategy";
const POLL: &str = "workerid domain timeout:int";
const QUEUE: &str = "taskType! domain isolationGroupId executionNamespace";
const FIRES: &str = "query freeText start:int size:int sort";
const SCHEDULES: &str = "workflowName scheduleName paused:bool freeText start:int size:int sort";
const NEXT: &str = "cronExpression! scheduleStartTime:int scheduleEndTime:int limit:int";

#[rustfmt::skip]
pub(super) const DESCRIBED: &[Described] = &[
    ("GET /health", "Whether the server and its database work", "", "", "json"),
    ("GET /api/health", "Whether the server and its database work", "", "", "json"),
    ("GET /metrics", "What Prometheus reads (not of Conductor's API)", "", "", "text"),
    ("GET /api/version", "The server's version", "", "", "text"),
    ("POST /api/token", "A token for a key", "", "Credentials", "json"),
    ("GET /api-docs", "This document", "", "", "json"),
    ("GET /v3/api-docs", "This document", "", "", "json"),

    ("POST /api/metadata/taskdefs", "Registers task definitions", "", "TaskDefs", "none"),
    ("PUT /api/metadata/taskdefs", "Replaces a task definition", "", "TaskDef", "none"),
    ("GET /api/metadata/taskdefs", "All task definitions", "", "", "list"),
    ("GET /api/metadata/taskdefs/{name}", "A task definition", "", "", "json"),
    ("DELETE /api/metadata/taskdefs/{name}", "Removes a task definition", "", "", "none"),
    ("POST /api/metadata/workflow", "Registers a workflow definition", "overwrite:bool", "WorkflowDef", "none"),
    ("PUT /api/metadata/workflow", "Registers workflow definitions", "", "WorkflowDefs", "json"),
    ("GET /api/metadata/workflow", "All workflow definitions", "", "", "list"),
    ("POST /api/metadata/workflow/validate", "Checks a workflow definition", "", "WorkflowDef", "none"),
    ("GET /api/metadata/workflow/names", "Names of workflow definitions", "", "", "list"),
    ("GET /api/metadata/workflow/names-and-versions", "Versions by name", "", "", "json"),
    ("GET /api/metadata/workflow/latest-versions", "The latest version of each", "", "", "list"),
    ("GET /api/metadata/workflow/{name}", "A workflow definition", "version:int", "", "json"),
    ("GET /api/metadata/workflow/{name}/versions", "All versions of one name", "", "", "list"),
    ("DELETE /api/metadata/workflow/{name}/{version}", "Removes a version", "", "", "none"),

    ("POST /api/workflow", "Starts a run", "", "StartWorkflowRequest", "text"),
    ("POST /api/workflow/{id}", "Starts a run of this name", "version:int correlationId priority:int", "object", "text"),
    ("POST /api/workflow/execute/{name}/{version}", "Starts a run and waits for it", WAIT, "StartWorkflowRequest", "json"),
    ("POST /api/workflow/test", "Runs a definition with mocks for its workers", "", "WorkflowTestRequest", "json"),
    ("GET /api/workflow/{id}", "A run", "includeTasks:bool", "", "json"),
    ("GET /api/workflow/{id}/status", "A run's status", "includeOutput:bool includeVariables:bool", "", "json"),
    ("GET /api/workflow/{id}/tasks", "A run's tasks, in pages", "start:int count:int status[]", "", "json"),
    ("GET /api/workflow/{id}/explain", "Why a run stands where it stands, and where its time went (not of Conductor's API)", "", "", "json"),
    ("GET /api/workflow/running/{name}", "Ids of the runs that run", "version:int startTime:int endTime:int", "", "list"),
    ("GET /api/workflow/{id}/correlated/{correlation_id}", "Runs of a name by their correlation id", "includeClosed:bool includeTasks:bool", "", "list"),
    ("POST /api/workflow/{id}/correlated", "Runs of a name by their correlation ids", "includeClosed:bool includeTasks:bool", "strings", "json"),
    ("DELETE /api/workflow/{id}", "Terminates a run", "reason", "", "none"),
    ("DELETE /api/workflow/{id}/remove", "Removes an ended run", ARCHIVE, "", "none"),
    ("DELETE /api/workflow/{id}/terminate-remove", "Terminates and removes a run", END, "", "none"),
    ("PUT /api/workflow/{id}/pause", "Pauses a run", "", "", "none"),
    ("PUT /api/workflow/{id}/resume", "Resumes a run", "", "", "none"),
    ("PUT /api/workflow/{id}/skiptask/{reference}", "Has a run pass a step", "", "SkipTaskRequest?", "none"),
    ("POST /api/workflow/{id}/restart", "Restarts a run", "useLatestDefinitions:bool", "", "204"),
    ("POST /api/workflow/{id}/retry", "Retries a run", "resumeSubworkflowTasks:bool", "", "204"),
    ("POST /api/workflow/{id}/rerun", "Reruns a run, or from a task on", "", "RerunWorkflowRequest", "text"),
    ("POST /api/workflow/{id}/resetcallbacks", "Makes delayed tasks ready", "", "", "204"),
    ("PUT /api/workflow/decide/{id}", "Whether there is such a run", "", "", "none"),
    ("GET /api/workflow/search", "Finds runs", SEARCH, "", "json"),
    ("GET /api/workflow/search-v2", "Finds runs, whole", SEARCH, "", "json"),
    ("GET /api/workflow/search-by-tasks", "Finds runs by their tasks", SEARCH_TASKS, "", "json"),
    ("GET /api/workflow/search-by-tasks-v2", "Finds runs by their tasks, whole", SEARCH_TASKS, "", "json"),
    ("PUT /api/workflow/bulk/pause", "Pauses runs", "", "strings", "json"),
    ("PUT /api/workflow/bulk/resume", "Resumes runs", "", "strings", "json"),
    ("POST /api/workflow/bulk/restart", "Restarts runs", "useLatestDefinitions:bool", "strings", "json"),
    ("POST /api/workflow/bulk/retry", "Retries runs", "", "strings", "json"),
    ("POST /api/workflow/bulk/terminate", "Terminates runs", "reason", "strings", "json"),
    ("POST /api/workflow/bulk/search", "Runs by their ids", "includeTasks:bool", "strings", "json"),
    ("DELETE /api/workflow/bulk/remove", "Removes ended runs", ARCHIVE, "strings", "json"),
    ("DELETE /api/workflow/bulk/terminate-remove", "Terminates and removes runs", END, "strings", "json"),

    ("GET /api/tasks/poll/{type}", "A task for a worker", POLL, "", "json?"),
    ("GET /api/tasks/poll/batch/{type}", "Tasks for a worker", "workerid domain count:int timeout:int", "", "list"),
    ("POST /api/tasks", "Reports on a task", "", "TaskResult", "text"),
    ("POST /api/tasks/update-v2", "Reports on a task and gives the next", "", "TaskResult", "json?"),
    ("POST /api/tasks/{id}/{reference}/{status}", "Reports on a task by its reference name", "workerid", "object", "text"),
    ("POST /api/tasks/{id}/{reference}/{status}/sync", "Reports on a task and gives its run", "workerid", "object", "json"),
    ("POST /api/tasks/{id}/{status}/signal", "Ends the WAIT at which a run stands", "", "object", "none"),
    ("POST /api/tasks/{id}/{status}/signal/sync", "Ends the WAIT at which a run stands and waits", "returnStrategy timeoutMillis:int", "object", "json"),
    ("GET /api/tasks/{id}", "A task", "", "", "json"),
    ("POST /api/tasks/{id}/ack", "Whether a worker has the task", "", "", "json"),
    ("GET /api/tasks/{id}/log", "Lines that a task logged", "", "", "list?"),
    ("POST /api/tasks/{id}/log", "Adds a line to a task's log", "", "text", "none"),
    ("GET /api/tasks/search", "Finds tasks", SEARCH_TASKS, "", "json"),
    ("GET /api/tasks/search-v2", "Finds tasks, whole", SEARCH_TASKS, "", "json"),
    ("GET /api/tasks/queue/size", "How many tasks wait in a queue", QUEUE, "", "json"),
    ("GET /api/tasks/queue/sizes", "How many tasks wait in queues", "taskType[]", "", "json"),
    ("GET /api/tasks/queue/all", "How many tasks wait in all queues", "", "", "json"),
    ("GET /api/tasks/queue/all/verbose", "How many tasks wait in all queues, by shard", "", "", "json"),
    ("GET /api/tasks/queue/polldata", "Who asked for tasks of a type", "taskType!", "", "list"),
    ("GET /api/tasks/queue/polldata/all", "Who asked for tasks", "", "", "list"),
    ("POST /api/tasks/queue/requeue/{type}", "How many tasks were put back into their queue: none", "", "", "text"),

    ("POST /api/event", "Adds an event handler", "", "EventHandler", "none"),
    ("PUT /api/event", "Replaces an event handler", "", "EventHandler", "none"),
    ("GET /api/event", "All event handlers", "", "", "list"),
    ("GET /api/event/{name}", "Handlers of an event", "activeOnly:bool", "", "list"),
    ("DELETE /api/event/{name}", "Removes an event handler", "", "", "none"),
    ("POST /api/queue/update/{id}/{reference}/{status}", "Says how a task stands", "", "object", "none"),
    ("POST /api/queue/update/{id}/task/{task}/{status}", "Says how a task stands, by its id", "", "object", "none"),
    ("GET /api/admin/config", "Settings of this server", "", "", "json"),
    ("GET /api/admin/task/{type}", "Open tasks of a type", "start:int count:int", "", "list"),
    ("POST /api/admin/sweep/requeue/{id}", "Whether a run was put into the decider's queue: no", "", "", "text"),
    ("POST /api/admin/consistency/verifyAndRepair/{id}", "Whether a run was repaired: no", "", "", "text"),
    ("GET /api/admin/queues", "Events that handlers listen to", "verbose:bool", "", "json"),
    ("GET /api/environment", "What expressions read as workflow.env", "", "", "list"),
    ("GET /api/environment/{key}", "A variable of workflow.env", "", "", "text"),
    ("POST /api/scheduler/schedules", "Makes or replaces a schedule", "", "WorkflowSchedule", "json"),
    ("GET /api/scheduler/schedules", "Schedules", "workflowName", "", "list"),
    ("GET /api/scheduler/schedules/search", "Finds schedules", SCHEDULES, "", "json"),
    ("GET /api/scheduler/schedules/{name}", "A schedule", "", "", "json"),
    ("DELETE /api/scheduler/schedules/{name}", "Removes a schedule", "", "", "none"),
    ("PUT /api/scheduler/schedules/{name}/pause", "Lets a schedule rest", "reason", "", "none"),
    ("PUT /api/scheduler/schedules/{name}/resume", "Lets a schedule go on", "", "", "none"),
    ("PUT /api/scheduler/bulk/pause", "Lets schedules rest", "", "strings", "json"),
    ("PUT /api/scheduler/bulk/resume", "Lets schedules go on", "", "strings", "json"),
    ("GET /api/scheduler/nextFewSchedules", "When an expression fires next", NEXT, "", "list"),
    ("GET /api/scheduler/search/executions", "Finds fires of schedules", FIRES, "", "json"),
];
