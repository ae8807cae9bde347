"""Processes that find each other as those of torchrun do, for tests of what they do together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent


def environment(rank: int = 0, count: int = 1, port: int = 0) -> dict[str, str]:
    """Return what torchrun would set for a process."""
    return {
        **os.environ,
        "PYTHONPATH": f"{TESTS.parent / 'src'}{os.pathsep}{TESTS}", "OMP_NUM_THREADS": "1",
        "RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip


def start(count: int, arguments: list[str], folder: Path) -> list[subprocess.Popen]:
    """Start `count` processes of `python arguments`; what each says goes to folder/said-RANK.txt."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [_start_one(arguments, environment(rank, count, port), folder / f"said-{rank}.txt") for rank in range(count)]


def _start_one(arguments: list[str], variables: dict[str, str], said: Path) -> subprocess.Popen:
    with said.open("w") as output:
        return subprocess.Popen(
            [sys.executable, *arguments], env=variables, stdout=output, stderr=output, start_new_session=True
        )


def ended(ranks: list[subprocess.Popen], folder: Path, *, seconds: float = 240) -> list[tuple[int, str]]:
    """Wait for all; return each one's exit code and what it said. None of them outlives a test."""
    try:
        codes = [one.wait(timeout=seconds) for one in ranks]
    finally:
        for one in ranks:
            one.kill()
    return [(code, (folder / f"said-{rank}.txt").read_text()) for rank, code in enumerate(codes)]
