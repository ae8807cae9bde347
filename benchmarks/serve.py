"""Load on `litepose serve`: requests a second, times, and whether every request gets an answer when there are too many.

    python benchmarks/serve.py [--model litepose_xs] [--seconds 15] [--workers 1] [--queue 8]

The server is a process of its own on a free port of the loopback; this process plays the clients. First one client
after another measures what an unloaded request takes; then enough clients, each with one request at a time, measure the
capacity; then requests come at twice the capacity, evenly, whatever the answers (open loop), and each is counted: 200,
429, another status, or none. Pictures are JPEGs of 640x480 with five drawn people.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import httpx

from litepose.benchmark import as_jpeg
from litepose.datasets import open_dataset


@dataclass(frozen=True)
class Answer:
    """status: of HTTP, 0 = none came. seconds: from the request's start to the answer's end."""

    status: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="litepose_xs")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--queue", type=int, default=8)
    asked = parser.parse_args()
    if not 1 <= asked.seconds <= 120:
        parser.error("--seconds: 1 to 120")

    picture = as_jpeg(open_dataset("synthetic:people=5-5,seed=0,size=640x480")[0].image)
    command = [sys.executable, "-m", "litepose", "serve", "-m", asked.model, "--port", "0", "--threads", "1",
               "--workers", str(asked.workers), "--queue", str(asked.queue)]  # fmt: skip
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        address = next(found[1] for line in server.stderr if (found := re.search(r"(http://127\.0\.0\.1:\d+),", line)))
        print(f"{asked.model}, {asked.workers} worker(s), {asked.queue} waiting places, JPEG of {len(picture)} bytes")
        print(f"load average {os.getloadavg()[0]:.1f}; clients in one process beside the server\n")
        asyncio.run(load_it(address, picture, asked.seconds, asked.workers))
    finally:
        server.terminate()
        print(f"server ended with {server.wait(40)}")


async def load_it(address: str, picture: bytes, seconds: float, workers: int) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
        for _ in range(5):
            await ask(client, picture)
        one = await closed_loop(client, picture, clients=1, seconds=seconds / 3)
        tell("one client", one, seconds / 3)
        full = await closed_loop(client, picture, clients=2 * workers + 2, seconds=seconds)
        capacity = sum(answer.status == 200 for answer in full) / seconds
        tell(f"{2 * workers + 2} clients", full, seconds)
        over = await open_loop(client, picture, rate=2 * capacity, seconds=seconds)
        tell(f"{2 * capacity:.1f} requests/s (2x)", over, seconds)
        lost = sum(answer.status not in (200, 429) for answer in over)
        print(f"\nof {len(over)} requests at twice the capacity, {lost} got neither 200 nor 429")


async def ask(client: httpx.AsyncClient, picture: bytes) -> Answer:
    start = time.perf_counter()
    try:
        answer = await client.post("/v1/people", content=picture, headers={"content-type": "image/jpeg"})
        status = answer.status_code
    except httpx.HTTPError:
        status = 0
    return Answer(status, time.perf_counter() - start)


async def closed_loop(client: httpx.AsyncClient, picture: bytes, *, clients: int, seconds: float) -> list[Answer]:
    """Let each client ask again as soon as it is answered."""
    end = time.perf_counter() + seconds

    async def one() -> list[Answer]:
        answers = []
        while time.perf_counter() < end:
            answers.append(await ask(client, picture))
        return answers

    return [answer for answers in await asyncio.gather(*(one() for _ in range(clients))) for answer in answers]


async def open_loop(client: httpx.AsyncClient, picture: bytes, *, rate: float, seconds: float) -> list[Answer]:
    """Ask `rate` times a second whatever the answers."""
    start, tasks = time.perf_counter(), []
    for number in range(max(1, round(rate * seconds))):
        await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(client, picture)))
    return list(await asyncio.gather(*tasks))


def tell(what: str, answers: list[Answer], seconds: float) -> None:
    times = sorted(answer.seconds * 1000 for answer in answers if answer.status == 200)
    counts = ", ".join(f"{count} x {status}" for status, count in sorted(collections.Counter(
        answer.status or "no answer" for answer in answers).items(), key=str))  # fmt: skip
    p99 = times[min(len(times) - 1, int(0.99 * len(times)))]
    print(
        f"{what:26s} {len(times) / seconds:6.1f} answers/s, p50 {statistics.median(times):6.0f} ms, p99 {p99:6.0f} ms; "
        f"{counts}"
    )


if __name__ == "__main__":
    main()
