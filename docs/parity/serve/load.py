"""Puts a server under load: usual requests, clients that vanish, and requests that are malformed.

    lora-moe serve --model MODEL --adapter a=RUN &
    python docs/parity/serve/load.py --url http://127.0.0.1:8000 --requests 5000 --clients 16

Every usual request has to be answered in full, every malformed one with 400 (or, where it is no HTTP, by the end of the
connection); afterwards nothing may run or wait, and the server has to answer. Prints the rate, times to the first token,
and the memory of the process before and after, where --pid is given. Only the standard library, and only loopback.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from urllib.parse import urlparse

MALFORMED = [
    b'{"prompt": ',
    b"\xff\xfe\x00",
    b'{"prompt": "x", "max_tokens": "many"}',
    b'{"prompt": "x", "max_tokens": 99999999999}',
    b'{"prompt": [-1, 2]}',
    b'{"prompt": "\\ud800"}',
    b"[" * 20000,
    b'{"prompt": "x", "temperature": NaN}',
]


def http(path, body, method="POST"):
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def memory(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


class Load:
    def __init__(self, arguments):
        self.arguments = arguments
        url = urlparse(arguments.url)
        assert url.hostname in ("127.0.0.1", "localhost", "::1"), "only loopback"
        self.place = (url.hostname, url.port)
        self.random = random.Random(arguments.seed)
        self.counts = dict.fromkeys(("answered", "vanished", "refused", "busy", "lost"), 0)
        self.first, self.tokens, self.errors = [], 0, []

    async def ask(self, bytes_, read):
        reader, writer = await asyncio.open_connection(*self.place, limit=1 << 22)
        try:
            writer.write(bytes_)
            await writer.drain()
            return await asyncio.wait_for(read(reader), self.arguments.timeout)
        finally:
            writer.close()

    async def get(self, path):
        answer = await self.ask(http(path, b"", "GET"), lambda reader: reader.read())
        return answer.decode()

    async def metric(self, name):
        line = next(l for l in (await self.get("/metrics")).splitlines() if l.startswith(f"lora_moe_{name} "))
        return float(line.split()[1])

    def body(self, number):
        words = self.random.choices(self.arguments.words.split(","), k=self.random.randint(1, self.arguments.prompt))
        return {
            "model": self.random.choice(self.arguments.models.split(",")),
            "prompt": f"{number} " + " ".join(words),
            "max_tokens": self.random.randint(1, self.arguments.tokens),
            "temperature": self.random.choice([0, 1]),
            "ignore_eos": True,
            "stream": self.random.random() < 0.5,
        }

    async def usual(self, number):
        body = self.body(number)
        started = time.monotonic()

        async def read(reader):
            head = await reader.readuntil(b"\r\n\r\n")
            first = time.monotonic() - started
            return int(head.split()[1]), first, await reader.read()

        status, first, answer = await self.ask(http("/v1/completions", json.dumps(body).encode()), read)
        if status in (429, 503):
            self.counts["busy"] += 1
            await asyncio.sleep(1)
            return await self.usual(number)
        complete = b"data: [DONE]" in answer if body["stream"] else b'"finish_reason"' in answer
        if status != 200 or not complete:
            self.counts["lost"] += 1
            self.errors.append((status, answer[:200]))
            return
        self.counts["answered"] += 1
        self.tokens += body["max_tokens"]
        if body["stream"]:
            self.first.append(first)

    async def vanishing(self, number):
        body = json.dumps(self.body(number) | {"max_tokens": self.arguments.tokens}).encode()
        bytes_ = http("/v1/completions", body)
        if self.random.random() < 0.3:
            bytes_ = bytes_[: self.random.randrange(len(bytes_))]

        async def read(reader):
            await asyncio.sleep(self.random.random() * 0.5)

        await self.ask(bytes_, read)
        self.counts["vanished"] += 1

    async def malformed(self, number):
        if number % 5 == 0:
            bytes_ = bytes(self.random.randrange(256) for _ in range(200)) + b"\r\n\r\n"
        else:
            bytes_ = http("/v1/completions", MALFORMED[number % len(MALFORMED)])
        answer = await self.ask(bytes_, lambda reader: reader.read())
        if answer and b" 400 " not in answer[:32]:
            self.counts["lost"] += 1
            self.errors.append(("malformed", bytes_[:80], answer[:200]))
        else:
            self.counts["refused"] += 1

    async def client(self, numbers):
        for number in numbers:
            draw = self.random.random()
            kind = self.malformed if draw < 0.05 else self.vanishing if draw < 0.15 else self.usual
            try:
                await kind(number)
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
                if kind is self.malformed:
                    self.counts["refused"] += 1
                else:
                    self.counts["lost"] += 1
                    self.errors.append((kind.__name__, repr(error)))

    async def run(self):
        arguments = self.arguments
        before = memory(arguments.pid) if arguments.pid else None
        started = time.monotonic()
        numbers = iter(range(arguments.requests))
        await asyncio.gather(*(self.client(numbers) for _ in range(arguments.clients)))
        seconds = time.monotonic() - started
        for _ in range(100):
            left = [await self.metric(f"requests_{state}") for state in ("running", "waiting", "reading")]
            if not any(left):
                break
            await asyncio.sleep(0.1)
        report = self.counts | {"seconds": round(seconds, 1), "tokens_per_second": round(self.tokens / seconds, 1)}
        if self.first:
            report["first_byte_median"] = round(statistics.median(self.first), 3)
        if before:
            report["memory_mib"] = [round(before), round(memory(arguments.pid))]
        print(json.dumps(report))
        for error in self.errors[:10]:
            print(error, file=sys.stderr)
        health = await self.get("/health")
        good = not self.counts["lost"] and not any(left) and " 200 " in health[:16]
        return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--models", required=True, help="names, separated by commas")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=20, help="the most words of a prompt")
    parser.add_argument("--words", default="the,of,and,river,seven,light,answer,copy")
    parser.add_argument("--tokens", type=int, default=20, help="the most tokens of an answer")
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pid", type=int)
    sys.exit(asyncio.run(Load(parser.parse_args()).run()))


if __name__ == "__main__":
    main()
