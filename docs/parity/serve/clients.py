"""Asks a running server by the `openai` package: completions, chats, streams, log-probabilities, errors.

    lora-moe serve --model MODEL --adapter a=RUN &
    python docs/parity/serve/clients.py --url http://127.0.0.1:8000/v1
"""

import argparse

import openai


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
    client = openai.OpenAI(base_url=parser.parse_args().url, api_key="none")
    names = [model.id for model in client.models.list()]
    print("models", names)
    for name in names:
        asked = dict(model=name, prompt="The capital of France is", max_tokens=8, temperature=0)
        whole = client.completions.create(**asked, logprobs=2, echo=True)
        assert whole.choices[0].text.startswith(asked["prompt"])
        assert whole.choices[0].logprobs.token_logprobs[0] is None
        text = client.completions.create(**asked).choices[0].text
        streamed = client.completions.create(**asked, stream=True)
        assert "".join(part.choices[0].text for part in streamed) == text
        drawn = [
            client.completions.create(**(asked | {"temperature": 1.0}), seed=3, n=2, top_p=0.9, extra_body={"min_p": 0.01})
            for _ in range(2)
        ]
        assert [c.text for c in drawn[0].choices] == [c.text for c in drawn[1].choices]
        print(name, repr(text), whole.usage)
        routing = client.completions.create(**asked, extra_body={"routing": True})
        print(name, "routing of the first token", str(routing.choices[0].model_extra.get("routing", [None])[0])[:120])
    messages = [{"role": "user", "content": "Say hello."}]
    try:
        asked = dict(model=names[-1], messages=messages, max_completion_tokens=12, temperature=0)
        whole = client.chat.completions.create(**asked, logprobs=True, top_logprobs=2)
        streamed = client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        parts = list(streamed)
        text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
        assert text == whole.choices[0].message.content, (text, whole.choices[0].message.content)
        assert parts[-1].usage.completion_tokens == whole.usage.completion_tokens
        print("chat", repr(text))
    except openai.BadRequestError as error:
        print("chat", error)
    for wrong, expected in [
        (dict(model="nobody", prompt="x"), openai.NotFoundError),
        (dict(model=names[0], prompt="x", temperature=-1), openai.BadRequestError),
        (dict(model=names[0], prompt="x", max_tokens=10**9), openai.BadRequestError),
    ]:
        try:
            client.completions.create(**wrong)
            raise SystemExit(f"accepted: {wrong}")
        except expected as error:
            print("refused:", error.body["message"], error.body["param"])


if __name__ == "__main__":
    main()
