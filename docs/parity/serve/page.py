"""Looks at the page of a running server in headless Chromium, at desktop and phone width (needs `chromium` and aiohttp).

    lora-moe serve --model MODEL --adapter a=RUN &
    python docs/parity/serve/page.py --url http://127.0.0.1:8000 --screenshots /tmp

Says something on both sides, and checks that answers come, that their tokens are coloured where the adapter routes, that
pointing at one shows its weights, that nothing is wider than the window, and that the console has no errors.
"""

import argparse
import asyncio
import base64
import itertools
import json
import subprocess
import tempfile

import aiohttp

SAY = """(async () => {
  document.querySelector("#kind").value = %s;
  document.querySelector("#tokens").value = 12;
  document.querySelector("textarea").value = "Once upon a time";
  document.querySelector("form").requestSubmit();
  for (let i = 0; i < 600 && (i < 5 || !document.querySelector("#stop").disabled); i++)
    await new Promise((done) => setTimeout(done, 100));
  const token = document.querySelector(".talk span[tabindex]");
  if (token) token.dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
  return {
    answers: [...document.querySelectorAll(".assistant")].map((answer) => answer.textContent),
    models: [...document.querySelectorAll("section select")].map((select) => select.value),
    errors: [...document.querySelectorAll(".error")].map((error) => error.textContent),
    coloured: document.querySelectorAll(".talk span[tabindex]").length,
    layers: document.querySelectorAll("#tip .row").length,
    wide: document.documentElement.scrollWidth > innerWidth,
  };
})()"""


async def look(url, width, height, kind, screenshot):
    with tempfile.TemporaryDirectory() as profile:
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
        browser = subprocess.Popen(["chromium", *arguments, "about:blank"], stderr=subprocess.PIPE, text=True)
        try:
            line = next(line for line in browser.stderr if "DevTools listening on" in line)
            port = line.split(":")[2].split("/")[0]
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                    page = next(target for target in await answer.json() if target["type"] == "page")
                async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    numbers, said = itertools.count(1), []

                    async def do(method, **parameters):
                        number = next(numbers)
                        await socket.send_json({"id": number, "method": method, "params": parameters})
                        while True:
                            message = json.loads((await socket.receive()).data)
                            if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                                if message["params"].get("entry", {}).get("level") != "verbose":
                                    said.append(json.dumps(message["params"])[:300])
                            if message.get("id") == number:
                                return message["result"]

                    await do("Runtime.enable")
                    await do("Log.enable")
                    await do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
                    await do("Page.navigate", url=url)
                    await asyncio.sleep(1.5)
                    result = await do("Runtime.evaluate", expression=SAY % json.dumps(kind), awaitPromise=True, returnByValue=True)
                    if screenshot:
                        image = await do("Page.captureScreenshot")
                        with open(screenshot, "wb") as file:
                            file.write(base64.b64decode(image["data"]))
                    return result["result"].get("value", result), said
        finally:
            browser.kill()
            browser.wait()


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--kind", default="text", choices=["text", "chat"])
    parser.add_argument("--screenshots")
    arguments = parser.parse_args()
    for name, width, height in [("desktop", 1280, 800), ("phone", 390, 844)]:
        screenshot = arguments.screenshots and f"{arguments.screenshots}/page-{name}.png"
        found, said = await look(arguments.url, width, height, arguments.kind, screenshot)
        print(name, json.dumps(found), said)
        assert len(found["answers"]) == 2 and all(found["answers"]), "an answer is missing"
        assert not found["errors"] and not said and not found["wide"]
        assert found["coloured"] and found["layers"], "no routing is shown"


if __name__ == "__main__":
    asyncio.run(main())
