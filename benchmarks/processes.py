"""One process or two on the same cores: calls a second and the 95th percentile, by size of call.

    python benchmarks/processes.py [--seconds 5] [--counts 1,2] [--rounds 2]

Needs `wrk` (a load generator in C: one in Python would take the cores that are measured). Each round goes through the
counts in turn, every second one backwards. `cached` asks the same again and again, all else asks what is new.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

WORKLOADS = {  # name: documents, words in each, connections, always the same
    "1 document": (1, 40, 16, False),
    "20 documents": (20, 20, 8, False),
    "20 documents, cached": (20, 20, 16, True),
}
LUA = """
local words = {"weather","town","people","market","river","train","winter","music","bread","school","garden","island",
"paper","window","doctor","bridge","summer","letter","engine","forest"}
local n = 0
request = function()
  if not %(same)s or n == 0 then n = n + 1 end
  local documents = {}
  for d = 1, %(documents)d do
    local text = {"d" .. d .. "x" .. n .. tostring(math.random(1e9) * (%(same)s and 0 or 1))}
    for w = 1, %(words)d do text[#text + 1] = words[%(same)s and (w * d) %% #words + 1 or math.random(#words)] end
    documents[#documents + 1] = '"' .. table.concat(text, " ") .. '"'
  end
  return wrk.format("POST", "/v1/rerank", {["Content-Type"] = "application/json"},
    '{"query": "what do people in the town do in winter", "documents": [' .. table.concat(documents, ",") .. ']}')
end
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--counts", default="1,2")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    counts = [int(each) for each in options.counts.split(",")]
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    memory: dict[int, float] = {}
    for number in range(options.rounds):
        for count in counts if number % 2 == 0 else reversed(counts):
            for name, figures in measured(count, options.seconds, memory).items():
                found.setdefault((name, count), []).append(figures)
    for (name, count), rounds in sorted(
        found.items(), key=lambda each: (list(WORKLOADS).index(each[0][0]), each[0][1])
    ):
        rate, p95 = (statistics.fmean(figures) for figures in zip(*rounds, strict=True))
        spread = ", ".join(f"{each[0]:.1f}" for each in rounds)
        print(
            f"{name:22} {count} process{'es' if count > 1 else '  '} {rate:8.1f} calls/s  p95 {p95:7.1f} ms  ({spread})"
        )
    for count, held in sorted(memory.items()):
        print(f"{count} processes hold {held / 1e6:.0f} MB after the load (resident, shared pages counted each time)")


def measured(count: int, seconds: int, memory: dict[int, float]) -> dict[str, tuple[float, float]]:
    """Start a server of `count` processes and go through all workloads."""
    command = [sys.executable, "-m", "rerankd", "serve", "--port", "0", "--workers", str(count),
               "--logging.format", "json", "--logging.access", "false"]  # fmt: skip
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as server,
    ):
        try:
            url = started(server, count)
            found = {name: loaded(url, Path(folder), name, seconds) for name in WORKLOADS}
            text = urllib.request.urlopen(f"{url}/metrics").read().decode()
            held = re.findall(r"^process_resident_memory_bytes\S* (\S+)", text, re.MULTILINE)
            memory[count] = sum(map(float, held))
            return found
        finally:
            server.terminate()
            server.wait(30)


def started(server: "subprocess.Popen[str]", count: int) -> str:
    """Wait until every process is ready."""
    url, ready = "", 0
    assert server.stderr
    while ready < count or not url:
        line = json.loads(server.stderr.readline())
        ready += line["message"] == "model ready"
        url = next(iter(re.findall(r"listening on (\S+)", line["message"])), url)
    time.sleep(1)
    return url


def loaded(url: str, folder: Path, name: str, seconds: int) -> tuple[float, float]:
    """Load it; return calls a second and the 95th percentile in milliseconds."""
    documents, words, connections, same = WORKLOADS[name]
    script = folder / "load.lua"
    latency = "\ndone = function(s, l) print('P95 ' .. l:percentile(95) / 1000 .. ' ERR ' .. s.errors.status) end"
    script.write_text(LUA % {"documents": documents, "words": words, "same": str(same).lower()} + latency, "utf-8")
    warm = ["wrk", "-t1", f"-c{connections}", "-d1s", "-s", str(script), url]
    subprocess.run(warm, capture_output=True, check=True)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert " ERR 0" in out, out
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", out)[0]), float(re.findall(r"P95 ([\d.]+)", out)[0])


if __name__ == "__main__":
    main()
