"""Plays the conformance cases on `oms server` and on a Conductor, and compares what came of them.

Usage: python3 e2e/differential OMS_URL CONDUCTOR_URL --port PORT [--only TEXT] [--write FILE]
`oms server` must be allowed to call 127.0.0.1:PORT (--http-allow), where the stand-in for other servers listens. Fails
where a difference is not explained in explained.json, or is explained and has gone, and where `oms server` does not do
what a case says; but for the cases that are `unsteady` there. --write keeps all that differs as JSON.
"""

import argparse
import json
import sys
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from api import Server
from cases import load, not_played
from compare import differences, unexpected
from player import Habits, Player
from stand_in import StandIn

HABITS = {
    "oms": Habits(quiet=0.5, handlers=0, at_once=32),
    # It looks for handlers once a minute.
    "conductor": Habits(quiet=3.0, handlers=70, at_once=32),
}
EXPLAINED = Path(__file__).parent / "explained.json"


def key(case: dict) -> str:
    return f"{case['file']}/{case['name']}"


def play_all(name: str, server: Server, cases: list, stand_in: StandIn) -> dict:
    def play(case: dict) -> dict:
        try:
            return Player(server, case, stand_in, HABITS[name], f"{name}-{case['prefix']}").play()
        except TimeoutError:
            return {"unanswered": True}
        except Exception:
            return {"broken": traceback.format_exc()}

    came = {}
    with ThreadPoolExecutor(HABITS[name].at_once) as pool:
        futures = {key(case): pool.submit(play, case) for case in cases}
        for number, (case, future) in enumerate(futures.items(), 1):
            came[case] = future.result()
            if number % 50 == 0:
                print(f"{name}: {number} of {len(cases)}", file=sys.stderr)
    return came


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("oms")
    options.add_argument("conductor")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--only", default="")
    options.add_argument("--write", type=Path)
    options = options.parse_args()
    chosen = [case for case in load() if options.only in key(case)]
    passed_over = Counter(filter(None, map(not_played, chosen)))
    cases = [case for case in chosen if not not_played(case)]
    stand_in = StandIn(options.port)
    with ThreadPoolExecutor(2) as pool:
        ours = pool.submit(play_all, "oms", Server(options.oms), cases, stand_in)
        theirs = pool.submit(play_all, "conductor", Server(options.conductor), cases, stand_in)
        ours, theirs = ours.result(), theirs.result()

    broken = {case: came["broken"] for of in (ours, theirs) for case, came in of.items() if "broken" in came}
    for case, trace in broken.items():
        print(f"{case}: {trace}")
    cases = [case for case in cases if key(case) not in broken]
    explained = json.loads(EXPLAINED.read_text())
    cases = [case for case in cases if key(case) not in explained["unsteady"]]
    wrong = {key(case): unexpected(case, ours[key(case)]) for case in cases}
    wrong = {case: of for case, of in wrong.items() if of}
    found = {key(case): differences(ours[key(case)], theirs[key(case)]) for case in cases}
    found = {case: of for case, of in found.items() if of}
    if options.write:
        options.write.write_text(json.dumps({"found": found, "ours": ours, "theirs": theirs}, indent=1))
    for why, number in passed_over.items():
        print(f"not played, {number}: {why}")
    print(f"{len(cases)} cases, {len(cases) - len(found)} of them the same, {len(found)} different")
    for case, of in wrong.items():
        print(f"not as the case says on oms server: {case}: {of}")
    return judge(found, {key(case) for case in cases}, explained) + len(broken) + len(wrong)


def judge(found: dict, played: set, explained: dict) -> int:
    """Out: how many cases differ otherwise than it is explained."""
    reasons: Counter = Counter()
    bad = 0
    for case in sorted(played):
        kinds, known = sorted(found.get(case, {})), explained["cases"].get(case, {})
        if kinds == sorted(known.get("kinds", [])):
            reasons.update([known["because"]] if known else [])
            continue
        bad += 1
        print(f"{case}: differs in {kinds or 'nothing'}, explained is {known.get('kinds', 'nothing')}")
    for reason, number in reasons.most_common():
        print(f"{number}: {explained['because'][reason]}")
    return bad


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
