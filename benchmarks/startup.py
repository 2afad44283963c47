"""Cold start of `asi-evolve serve`: CPU seconds and memory until it has answered `initialize`.

Run beside the floor of the SDK itself, a server without tools, in the same minute on the same machine:

    python benchmarks/startup.py [--runs 10]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

FLOOR = "from mcp.server import MCPServer; MCPServer('floor').run('stdio')"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "benchmark", "version": "1"},
    },
}


def cold_start(command):
    """(CPU seconds, wall seconds, peak MB) from the start of the process to its answer."""
    begin = time.monotonic()
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    server.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
    server.stdin.flush()
    answer = json.loads(server.stdout.readline())
    wall = time.monotonic() - begin
    assert "serverInfo" in answer["result"], answer
    with open(f"/proc/{server.pid}/stat") as stream:
        fields = stream.read().rsplit(")", 1)[1].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    with open(f"/proc/{server.pid}/status") as stream:
        peak = next(int(line.split()[1]) / 1024 for line in stream if line.startswith("VmHWM"))
    server.stdin.close()
    server.wait(20)
    return cpu, wall, peak


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "sdk alone": [sys.executable, "-I", "-c", FLOOR],
            "asi-evolve serve": [sys.executable, "-I", "-m", "asi_evolve.server.cli", "serve", "--workspace", folder],
        }
        measured = {name: [] for name in commands}
        for _ in range(runs):  # side by side, so that a busy machine is busy for both
            for name, command in commands.items():
                measured[name].append(cold_start(command))
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} CPUs, {runs} runs, median")
    print(f"{'':20}{'CPU s':>8}{'wall s':>8}{'peak MB':>9}")
    for name, values in measured.items():
        cpu, wall, peak = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"{name:20}{cpu:8.2f}{wall:8.2f}{peak:9.1f}")


if __name__ == "__main__":
    main()
