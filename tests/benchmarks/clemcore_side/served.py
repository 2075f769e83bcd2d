"""What a vLLM server says about itself; used on both sides."""

import urllib.request


def generated(metrics: str) -> int:
    """How many tokens the server has sampled since it was started.

    Args:
        metrics: URL of the server's metrics.
    """
    with urllib.request.urlopen(metrics, timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("vllm:generation_tokens_total"):
                return int(float(line.split()[-1]))
    raise SystemExit(f"{metrics} has no vllm:generation_tokens_total")
