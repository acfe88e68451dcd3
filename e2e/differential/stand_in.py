"""Somebody's server, which HTTP tasks call."""

import json
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StandIn:
    """Answers by path as the cases say, one entry a call, the last one staying."""

    def __init__(self, port: int) -> None:
        self.acts: dict = {}
        self.calls: dict = defaultdict(int)
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                act = outer.next(self.path.split("?")[0])
                body = act.get("body", "")
                text = body if isinstance(body, str) else json.dumps(body)
                kind = "text/plain" if isinstance(body, str) else "application/json"
                self.send_response_only(act.get("status", 200), act.get("reason", "OK"))
                headers = {"content-type": kind} if text else {}
                for name, value in {**headers, **act.get("headers", {})}.items():
                    self.send_header(name, value)
                cut = act.get("cut")
                self.send_header("content-length", str(len(text.encode()) + (100 if cut else 0)))
                self.end_headers()
                self.wfile.write(text.encode())
                self.close_connection = bool(cut)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def serve(self, root: str, http: dict) -> str:
        """Out: the address under which a case's paths are served."""
        with self.lock:
            for path, acts in http.items():
                self.acts[f"/{root}{path}"] = acts
        return f"http://127.0.0.1:{self.port}/{root}"

    def next(self, path: str) -> dict:
        with self.lock:
            acts = self.acts.get(path)
            if not acts:
                return {}
            number = min(self.calls[path], len(acts) - 1)
            self.calls[path] += 1
            return acts[number]
