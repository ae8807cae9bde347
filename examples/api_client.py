"""Let a server find the people: python api_client.py ADDRESS PICTURE... (litepose serve prints its address)

A token, where the server wants one, is read from the environment: LITEPOSE_TOKEN. The answers go to people.json.
"""

import json
import mimetypes
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

if len(sys.argv) < 3:
    print("usage: python api_client.py ADDRESS PICTURE...", file=sys.stderr)
    sys.exit(2)
address, pictures = sys.argv[1].rstrip("/"), sys.argv[2:]
token = os.environ.get("LITEPOSE_TOKEN")

answers = {}
for picture in pictures:
    headers = {"Content-Type": mimetypes.guess_type(picture)[0] or "image/jpeg"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(f"{address}/v1/people", Path(picture).read_bytes(), headers)
    while picture not in answers:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                answers[picture] = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 429:  # 429: all places are taken, ask again
                sys.exit(f"{picture}: {json.load(error)['error']}")
            time.sleep(float(error.headers.get("Retry-After", 1)))
    print(f"{picture}: {len(answers[picture]['pictures'][0]['people'])} people")

Path("people.json").write_text(json.dumps(answers), encoding="utf-8")
