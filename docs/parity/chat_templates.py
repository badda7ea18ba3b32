"""What transformers renders of conversations by real chat templates, and what of it is learned.

    python docs/parity/chat_templates.py TEMPLATES crates/data/src/tests/chat_templates.json

TEMPLATES is a folder with the `NAME.jinja` of `TEMPLATES` below (their sources stand there); names that are not there are
left out. The result holds our conversations and what transformers makes of them, no template, and is compared with what
`lora-moe` makes of them by `crates/data/src/tests/templates.rs`, which reads the templates from the same folder
(`LORA_MOE_CHAT_TEMPLATES`). Prints the table of the book's page on data.

Where a template marks what is the assistant's by `{% generation %}`, the spans are those of transformers'
`return_assistant_tokens_mask`. Elsewhere they begin where the text with the generation prompt ends, and end before the
white space behind the turn; every span is checked to hold what the assistant says and nothing that others say.
"""

import json
import re
import sys
from datetime import datetime
from pathlib import Path

import transformers
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

TRL = "huggingface/trl@f2cd57710ae345ea6428ae95363267fcf38a3dc8:trl/chat_templates"
COLLECTION = "chujiezheng/chat_templates@11c495621569969f264ee70b5c8bb49ba7a1a410:chat_templates"
LLAMA_CPP = "ggerganov/llama.cpp@7b5e0803c84435e8005725d8f9ddceb5d1820443:models/templates"

# Begin and end token, and where the template comes from.
TEMPLATES = {
    "qwen2_5": (None, "<|im_end|>", TRL),
    "qwen2_5_training": (None, "<|im_end|>", TRL),
    "qwen3": (None, "<|im_end|>", TRL),
    "qwen3_training": (None, "<|im_end|>", TRL),
    "llama3": ("<|begin_of_text|>", "<|eot_id|>", TRL),
    "llama3_training": ("<|begin_of_text|>", "<|eot_id|>", TRL),
    "llama3_2": ("<|begin_of_text|>", "<|eot_id|>", TRL),
    "gemma3": ("<bos>", "<eos>", TRL),
    "phi3": ("<s>", "<|endoftext|>", TRL),
    "deepseekv3": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", TRL),
    "glm4moe": (None, "<|endoftext|>", TRL),
    "gptoss": ("<|startoftext|>", "<|return|>", TRL),
    "qwen3_instruct_2507": (None, "<|im_end|>", TRL),
    "qwen3_6": (None, "<|im_end|>", TRL),
    "llama3_1": ("<|begin_of_text|>", "<|eot_id|>", TRL),
    "gemma": ("<bos>", "<eos>", TRL),
    "gemma3_training": ("<bos>", "<eos>", TRL),
    "phi3_5": ("<s>", "<|endoftext|>", TRL),
    "deepseekv3_training": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", TRL),
    "gptoss_training": ("<|startoftext|>", "<|return|>", TRL),
    "cohere2": ("<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", TRL),
    "lfm2": ("<|startoftext|>", "<|im_end|>", TRL),
    "nemotron_3_nano": ("<s>", "<|im_end|>", TRL),
    "mistral_nemo": ("<s>", "</s>", LLAMA_CPP + "/mistralai-Mistral-Nemo-Instruct-2407.jinja"),
    "mistral-instruct": ("<s>", "</s>", COLLECTION),
    "granite-3.0-instruct": ("<|end_of_text|>", "<|end_of_text|>", COLLECTION),
    "openchat-3.5": ("<s>", "<|end_of_turn|>", COLLECTION),
    "vicuna": ("<s>", "</s>", COLLECTION),
    "zephyr": ("<s>", "</s>", COLLECTION),
    "llama-2-chat": ("<s>", "</s>", COLLECTION),
}

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a town",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string", "description": "Its name"}},
            "required": ["town"],
        },
    },
}


def say(role, content, **more):
    return {"role": role, "content": content, **more}


def call(number, town):
    function = {"name": "weather", "arguments": {"town": town, "days": 2}}
    return {"id": f"call0000{number}", "type": "function", "function": function}


def result(number, text):
    return say("tool", text, tool_call_id=f"call0000{number}", name="weather")


ASK, TELL = say("user", "Which town lies on the Isar?"), say("assistant", "Munich.")
THANK, WELCOME = say("user", "Thanks, and on the Spree?"), say("assistant", "Berlin does.")
SYSTEM = say("system", "Answer briefly.")
WEATHER = say("user", "How is Oslo?")
CALLS = {"role": "assistant", "tool_calls": [call(1, "Oslo")]}

CONVERSATIONS = {
    "plain": [ASK, TELL],
    "system": [SYSTEM, ASK, TELL],
    "multi_turn": [SYSTEM, ASK, TELL, THANK, WELCOME],
    "no_system_multi_turn": [ASK, TELL, THANK, WELCOME],
    "trailing_user": [ASK, TELL, THANK],
    "unicode": [say("user", "Grüße aus 北京 🏙️"), say("assistant", "e\u0301té, שלום, 👩‍👩‍👧 – ok")],
    "empty_assistant": [ASK, say("assistant", "", train=False), THANK, WELCOME],
    "white_space": [say("user", "  a\n"), say("assistant", "\n  two\n\nlines  \n"), THANK, WELCOME],
    "markup": [say("user", "{{ x }} {% if %} <b>&amp;"), say("assistant", "```\n<think>{\"a\": 1}</think>\n```")],
    "reasoning": [ASK, say("assistant", "Munich.", reasoning_content="Isar? Munich.")],
    "reasoning_multi_turn": [
        ASK,
        say("assistant", "Munich.", reasoning_content="The Isar flows there."),
        THANK,
        say("assistant", "Berlin does.", reasoning_content="The Spree, then."),
    ],
    "tools_unused": ([SYSTEM, ASK, TELL], [TOOL]),
    "tool_call": ([WEATHER, CALLS, result(1, "-3 °C, flakes"), say("assistant", "It snows.")], [TOOL]),
    "parallel_tool_calls": (
        [
            WEATHER,
            say("assistant", "I look.", tool_calls=[call(1, "Oslo"), call(2, "Bergen")]),
            result(1, "-3 °C, flakes"),
            result(2, "8 °C, drops"),
            say("assistant", "Snow and rain."),
        ],
        [TOOL],
    ),
    "ends_in_tool_call": ([SYSTEM, WEATHER, CALLS], [TOOL]),
    "developer": [say("developer", "Answer briefly."), ASK, TELL],
    "parts": [say("user", [{"type": "text", "text": "Which "}, {"type": "text", "text": "town?"}]), TELL],
}


class Refused(Exception):
    pass


def common(one, other):
    """How many characters two texts begin with alike."""
    return next((at for at, pair in enumerate(zip(one, other)) if pair[0] != pair[1]), min(len(one), len(other)))


class Template:
    def __init__(self, source, bos, eos):
        self.source = source
        self.tokens = {"bos_token": bos, "eos_token": eos}
        self.tokens = {key: value for key, value in self.tokens.items() if value}
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **self.tokens)
        self.marks = re.search(r"\{%-?\s*generation\s*-?%\}", source) is not None
        # Today, replaced by a day of the same length.
        formats = re.findall(r"strftime_now\([\"']([^\"']+)", source)
        self.dates = {form: datetime(2000, 1, 1).strftime(form) for form in formats}

    def fixed(self, text):
        for form, day in self.dates.items():
            assert len(datetime.now().strftime(form)) == len(day)
            text = text.replace(datetime.now().strftime(form), day)
        return text

    def render(self, messages, tools, prompt=False):
        plain = [{key: value for key, value in message.items() if key != "train"} for message in messages]
        return self.fixed(
            self.tokenizer.apply_chat_template(
                plain, tools=tools, chat_template=self.source, tokenize=False, add_generation_prompt=prompt
            )
        )

    def marked(self, messages, tools):
        """The text, and what transformers' mask covers, as character offsets."""
        plain = [{key: value for key, value in message.items() if key != "train"} for message in messages]
        texts, spans = render_jinja_template(
            conversations=[plain],
            tools=tools,
            chat_template=self.source,
            return_assistant_tokens_mask=True,
            **self.tokens,
        )
        return self.fixed(texts[0]), [tuple(span) for span in spans[0]]

    def all_turns(self, messages, tools):
        turns = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
        if self.marks:
            return self.marked(messages[: turns[-1] + 1], tools)
        known, spans = "", []
        for turn in turns:
            text, [(begin, end)] = self.one_turn(messages[: turn + 1], tools)
            if not text.startswith(known) or begin < len(known):
                raise Refused
            spans.append((begin, end))
            known = text
        return known, spans

    def one_turn(self, messages, tools):
        """The last message as the only target."""
        if self.marks:
            text, spans = self.marked(messages, tools)
            before = [at for at, message in enumerate(messages[:-1]) if message["role"] == "assistant"]
            count = len(self.marked(messages[: before[-1] + 1], tools)[1]) if before else 0
            return text, spans[count:]
        prompt = self.render(messages[:-1], tools, True)
        text = self.render(messages, tools)
        begin = common(prompt, text)
        if begin < len(prompt):
            # What the answer has in common with the thought that a prompt opens is the answer's.
            begin = min(begin, common(prompt, self.render([*messages[:-1], say("assistant", "\ufdd2")], tools)))
            before = self.render(messages[:-1], tools).rstrip()
            content = (messages[-1].get("content") or "").strip()
            if not text.startswith(before) or begin < len(before) or content not in text[begin:]:
                raise Refused
        return text, [(begin, len(text.rstrip()))]


def check_spans(messages, text, spans):
    """Spans hold what the assistant says, and nothing that others say."""
    learned = "\0".join(text[begin:end] for begin, end in spans)
    for message in messages:
        content = message.get("content")
        if isinstance(content, str) and content.strip() and content.strip() in text:
            assert (content.strip() in learned) == (message["role"] == "assistant"), (message, learned)


def drops_calls(messages, learned):
    """Whether the template leaves out what the assistant calls."""
    learned = "\0".join(learned)
    calls = [each["function"]["name"] for message in messages for each in message.get("tool_calls", [])]
    return any(name not in learned for name in calls)


def join(content):
    return "".join(part["text"] for part in content) if isinstance(content, list) else content


def in_bytes(text, spans):
    return [[len(text[:begin].encode()), len(text[:end].encode())] for begin, end in spans]


def case(template, messages, tools):
    try:
        text = template.render(messages, tools)
    except Exception as error:  # Whatever a template raises.
        text, refused = None, {"error": type(error).__name__}
    joined = [{**message, "content": join(message.get("content"))} for message in messages]
    has_parts = any(isinstance(message.get("content"), list) for message in messages)
    if has_parts and template.render(joined, tools) != text:
        # The template knows no parts: it prints Python's list, or nothing, or fails.
        messages, text = joined, template.render(joined, tools)
    if text is None:
        return refused
    found = {"text": text}
    try:
        prompt = template.render(messages, tools, True)
        found["prompt"] = prompt[len(text) :] if prompt.startswith(text) else [prompt]
    except Exception as error:
        found["prompt"] = {"error": type(error).__name__}
    last = max(at for at, message in enumerate(messages) if message["role"] == "assistant")
    try:
        text, spans = template.all_turns(messages, tools)
        if not template.marks:
            check_spans(messages[: last + 1], text, spans)
        found["all_turns"] = in_bytes(text, spans)
        if drops_calls(messages, [text[begin:end] for begin, end in spans]):
            found["all_turns"] = "drops tool_calls"
        elif not found["text"].startswith(text):
            found["all_turns_text"] = text
    except Refused:
        found["all_turns"] = "refused"
    except Exception as error:
        found["all_turns"] = {"error": type(error).__name__}
    found["each_turn"] = []
    for turn in (at for at, message in enumerate(messages) if message["role"] == "assistant"):
        try:
            text, spans = template.one_turn(messages[: turn + 1], tools)
            found["each_turn"].append([text[begin:end] for begin, end in spans])
        except Refused:
            found["each_turn"] = "refused"
            break
        except Exception as error:
            found["each_turn"] = {"error": type(error).__name__}
            break
    if isinstance(found["each_turn"], list) and drops_calls(messages, sum(found["each_turn"], [])):
        found["each_turn"] = "drops tool_calls"
    return found


def main():
    folder, output = map(Path, sys.argv[1:])
    conversations = {
        name: dict(zip(("messages", "tools"), talk if isinstance(talk, tuple) else (talk, None)))
        for name, talk in CONVERSATIONS.items()
    }
    templates = {}
    for name, (bos, eos, _) in TEMPLATES.items():
        path = folder / f"{name}.jinja"
        if not path.exists():
            print(f"left out: {path} is absent", file=sys.stderr)
            continue
        source = path.read_text()
        template = Template(source, bos, eos)
        cases = {
            shape: case(template, talk["messages"], talk["tools"]) for shape, talk in conversations.items()
        }
        templates[name] = {
            "bos_token": bos,
            "eos_token": eos,
            "bytes": len(source.encode()),
            "dates": template.dates,
            "marks": template.marks,
            "cases": cases,
        }
    found = {
        "transformers": transformers.__version__,
        "conversations": conversations,
        "templates": templates,
    }
    output.write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n")
    print("| template | marks | renders | refuses | `all_turns` | `each_turn` |\n|---|---|---|---|---|---|")
    for name, about in templates.items():
        cases = list(about["cases"].values())
        count = lambda test: sum(1 for each in cases if test(each))
        rendered = count(lambda each: "text" in each)
        learned = lambda key: count(lambda each: isinstance(each.get(key), list))
        print(
            f"| {name} | {'yes' if about['marks'] else 'no'} | {rendered} | {len(cases) - rendered} "
            f"| {learned('all_turns')} | {learned('each_turn')} |"
        )


main()
