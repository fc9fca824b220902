"""The worker's half of the pipe: one JSON line of requests in, one JSON line of seconds and scores out.

Runs in every rival's environment: standard library only.
"""

import json
import sys
import time
from pathlib import Path


def answer_all(score):
    """Answer until standard input ends. `score(query, documents)` returns raw scores in document order."""
    out, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints must not stand between our lines
    print(json.dumps({"ready": True}), file=out, flush=True)
    for line in sys.stdin:
        requests = json.loads(line)["requests"]
        started = time.perf_counter()
        scores = [score(request["query"], request["documents"]) for request in requests]
        seconds = time.perf_counter() - started
        listed = [[float(value) for value in values] for values in scores]
        answer = {"seconds": seconds, "scores": listed, **memory()}
        print(json.dumps(answer), file=out, flush=True)


def memory():
    """Resident memory in bytes: now, and the most there ever was (Linux; 0 elsewhere)."""
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return {"rss": 0, "peak_rss": 0}
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {"rss": int(fields["VmRSS"].split()[0]) * 1024, "peak_rss": int(fields["VmHWM"].split()[0]) * 1024}
