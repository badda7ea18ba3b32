"""Measures how fast a server of OpenAI's chats answers many clients at once: new tokens a second, and the time to the first.

    lora-moe serve --model MODEL --dtype bfloat16 --port 8000 &
    python docs/parity/serve/speed.py --url http://127.0.0.1:8000 --model MODEL_NAME --tokenizer MODEL --name ours \
        --clients 1,4,16 --each 2 >> speed.jsonl

Each client asks one question after the other, of --prompt tokens (the chat's template included) that no other has, for
--tokens greedy tokens as a stream; --extra adds keys to a request, as {"ignore_eos": true}. A line of JSON for each number of
clients. Needs `tokenizers` and `jinja2`, and only loopback.
"""

import argparse
import asyncio
import json
import pathlib
import random
import statistics
import time
from urllib.parse import urlparse

import jinja2
from tokenizers import Tokenizer

WORDS = (
    "river stone garden winter music paper window silver market ocean bridge forest engine letter mountain doctor candle "
    "island history village painter morning summer kitchen teacher shadow planet copper thunder harbor"
).split()


class Prompts:
    """Contents of messages that make prompts of so many tokens."""

    def __init__(self, folder, tokens, seed):
        folder = pathlib.Path(folder)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        config = json.loads((folder / "tokenizer_config.json").read_text())
        template = (folder / "chat_template.jinja").read_text() if "chat_template" not in config else config["chat_template"]
        self.template = jinja2.Environment().from_string(template)
        self.tokens, self.random = tokens, random.Random(seed)

    def length(self, content):
        messages = [{"role": "user", "content": content}]
        text = self.template.render(messages=messages, add_generation_prompt=True, bos_token="", eos_token="")
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def next(self):
        words = [f"Write a long story with these words:"]
        while self.length(" ".join(words)) < self.tokens:
            words.append(self.random.choice(WORDS))
        return " ".join(words)


async def ask(place, path, body, timeout):
    """The time to the first token, and how many there were."""
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection(*place, limit=1 << 22)
    try:
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n"
        writer.write(head.encode() + f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
        await writer.drain()
        first, count, usage, reason = None, 0, None, None
        status = (await asyncio.wait_for(reader.readline(), timeout)).decode()
        if " 200 " not in status:
            raise RuntimeError(status + (await reader.read()).decode(errors="replace")[:500])
        while line := await asyncio.wait_for(reader.readline(), timeout):
            if not line.startswith(b"data:") or line.strip() == b"data: [DONE]":
                continue
            part = json.loads(line[5:])
            usage = (part.get("usage") or {}).get("completion_tokens", usage)
            for choice in part.get("choices", []):
                reason = choice.get("finish_reason") or reason
                if (choice.get("delta") or {}).get("content"):
                    first = first or time.perf_counter() - started
                    count += 1
        # A part of a stream is a token, but for those that complete no character.
        return first, usage or count, reason
    finally:
        writer.close()


async def measure(arguments, clients, prompts):
    url = urlparse(arguments.url)
    assert url.hostname in ("127.0.0.1", "localhost", "::1"), "only loopback"
    models = arguments.model.split(",")
    bodies = [
        {
            "model": models[i % len(models)],
            "messages": [{"role": "user", "content": prompts.next()}],
            "max_tokens": arguments.tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            **json.loads(arguments.extra),
        }
        for i in range(clients * arguments.each)
    ]

    async def client(number):
        # Clients with one model each, where there are several.
        return [
            await ask((url.hostname, url.port), arguments.path, body, arguments.timeout)
            for body in bodies[number * arguments.each : (number + 1) * arguments.each]
        ]

    if len(models) > 1:
        for number in range(clients):
            for body in bodies[number * arguments.each : (number + 1) * arguments.each]:
                body["model"] = models[number % len(models)]
    started = time.perf_counter()
    answers = [answer for all in await asyncio.gather(*map(client, range(clients))) for answer in all]
    seconds = time.perf_counter() - started
    tokens = sum(count for _, count, _ in answers)
    firsts = sorted(first for first, _, _ in answers if first is not None)
    return {
        "name": arguments.name,
        "clients": clients,
        "requests": len(answers),
        "tokens": tokens,
        "seconds": round(seconds, 2),
        "tokens_per_second": round(tokens / seconds, 1),
        "first_token_median": round(statistics.median(firsts), 3),
        "first_token_longest": round(firsts[-1], 3),
        "ended_early": sum(reason != "length" for _, _, reason in answers),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--path", default="/v1/chat/completions")
    parser.add_argument("--model", required=True, help="or several, one after the other, with commas")
    parser.add_argument("--tokenizer", required=True, help="the folder of the model")
    parser.add_argument("--name", required=True)
    parser.add_argument("--clients", default="1,2,4,8,16")
    parser.add_argument("--each", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--extra", default="{}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=600)
    arguments = parser.parse_args()
    prompts = Prompts(arguments.tokenizer, arguments.prompt, arguments.seed)
    # The first pass after a start is slower.
    warm = argparse.Namespace(**{**vars(arguments), "each": 1, "tokens": 4})
    asyncio.run(measure(warm, 1, prompts))
    for clients in map(int, arguments.clients.split(",")):
        print(json.dumps(asyncio.run(measure(arguments, clients, prompts))), flush=True)


if __name__ == "__main__":
    main()
