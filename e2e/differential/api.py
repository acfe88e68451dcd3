"""Conductor's REST API, as much of it as the cases need."""

import http.client
import json
import threading
from urllib.parse import quote, urlencode, urlsplit


class Refused(Exception):
    """The server's answer was no."""


class Server:
    """A server that speaks Conductor's API. Safe to use from many threads."""

    def __init__(self, url: str):
        self.at = urlsplit(url).netloc
        self.local = threading.local()

    def call(self, method: str, path: str, body: object = None, **query: object) -> object:
        text = None if body is None else json.dumps(body)
        query = {key: value for key, value in query.items() if value is not None}
        target = f"/api{path}" + (f"?{urlencode(query)}" if query else "")
        status, answer = self.exchange(method, target, text)
        if status >= 300:
            raise Refused(f"{method} {path}: {status} {answer[:300]}")
        try:
            return json.loads(answer)
        except ValueError:
            return answer

    def exchange(self, method: str, target: str, text: object) -> tuple:
        for last in (False, True):
            connection = getattr(self.local, "connection", None)
            if not connection:
                connection = self.local.connection = http.client.HTTPConnection(self.at, timeout=60)
            try:
                connection.request(method, target, text, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except OSError as failed:
                connection.close()
                self.local.connection = None
                # A connection that was idle may have been closed by the server.
                if last or not isinstance(failed, ConnectionError):
                    raise
        raise AssertionError

    def poll(self, task: str, domain: object) -> list:
        found = self.call(
            "GET", f"/tasks/poll/batch/{quote(task)}", count=1, timeout=50, workerid="player", domain=domain
        )
        return found if isinstance(found, list) else []

    def run(self, id: str) -> dict:
        return self.call("GET", f"/workflow/{id}", includeTasks="true")

    def runs_of(self, names: list) -> list:
        """The ids of all runs of these definitions, oldest first."""
        query = f"workflowType IN ({','.join(names)})"
        found = self.call("GET", "/workflow/search", query=query, size=100, sort="startTime:ASC")
        return [run["workflowId"] for run in found["results"]]
