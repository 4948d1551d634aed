"""An OpenAI-compatible server that answers what a test says."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-very-secret-0123456789"


def event(content=None, finish=None):
    return {
        "choices": [{"index": 0, "delta": {} if content is None else {"content": content}, "finish_reason": finish}]
    }


def stream(*events, done=True):
    lines = [f"data: {each if isinstance(each, str) else json.dumps(each)}" for each in events]
    return ": a comment\n\n" + "\n\n".join([*lines, *(["data: [DONE]"] if done else [])]) + "\n\n"


GOOD = stream(event(""), event("It is "), event("<b>é</b>"), event(None, "stop"))


class FakeServer(ThreadingHTTPServer):
    """Answers requests for replies in turn: a status, (status, headers), or a stream's text; the last one stays.

    A function gets the request's body, and returns one of these; a dictionary is an answer that is not streamed.
    `None` closes the connection without an answer; a number of seconds is how long it is silent.
    """

    daemon_threads = True

    def __init__(self, *answers):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.requests, self.keys = list(answers), [], []
        self.let_go = threading.Event()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.let_go.set()
        self.shutdown()
        self.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.keys.append(self.headers.get("Authorization"))
        known = self.headers.get("Authorization") == f"Bearer {KEY}"
        self._answer(200 if known else 401, {}, json.dumps({"data": []}))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, body, self.headers.get("Authorization")))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(answer):
            answer = answer(body)
        if answer is None:
            self.close_connection = True
        elif isinstance(answer, float):
            self.server.let_go.wait(answer)
            self.close_connection = True
        elif isinstance(answer, str):
            self._answer(200, {"Content-Type": "text/event-stream"}, answer)
        elif isinstance(answer, dict):
            self._answer(200, {"Content-Type": "application/json"}, json.dumps(answer))
        else:
            status, headers = answer if isinstance(answer, tuple) else (answer, {})
            self._answer(status, headers, f"the key {KEY} is wrong")

    def _answer(self, status, headers, text):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())
