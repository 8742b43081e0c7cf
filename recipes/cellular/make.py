#!/usr/bin/env python3
"""Makes the traces of recipes/cellular.yaml, the same ones each time: python3 make.py [FOLDER].

A link is in one of five states: none, poor, fair, good, very good. Each 100 ms it stays with a chance of 92 % or goes to a neighbour, seldom to none;
there it stays for 0.3 to 2 s. The rate of a state is 0.5, 1.5, 4 or 9 Mbit/s, times a factor that wanders between 0.6 and 1.4. That is the shape of what was
measured on cellular links (Winstein, Sivaraman, Balakrishnan, NSDI 2013, section 2: rates that change by a factor of ten within seconds, and outages),
not a copy of any measurement.
"""

import random
import sys
from pathlib import Path

RATES = [0.0, 0.5e6, 1.5e6, 4e6, 9e6]  # bit/s
PACKET = 1504 * 8  # bits, as Mahimahi counts
STEP = 100  # ms
SECONDS = 60
# Name, seed, the state it begins in, the chance of an outage each 100 ms.
TRACES = [("walk", 11, 3, 0.006), ("bus", 12, 2, 0.010), ("train", 13, 3, 0.016), ("desk", 14, 4, 0.001)]


def opportunities(seed, state, outage):
    "Milliseconds at which a packet can be delivered, over SECONDS."
    chance = random.Random(seed)
    factor, credit, silent, times = 1.0, 0.0, 0, []
    for at in range(0, SECONDS * 1000, STEP):
        factor = min(1.4, max(0.6, factor + chance.uniform(-0.08, 0.08)))
        if silent > 0:
            silent -= STEP
        elif chance.random() < outage:
            silent = chance.randrange(300, 2001, STEP) - STEP
            state, credit = max(1, state - 1), 0.0
        elif chance.random() < 0.08:
            state = min(4, max(1, state + chance.choice([-1, 1])))
        if silent > 0:
            continue
        rate = min(12e6, max(0.3e6, RATES[state] * factor))
        for ms in range(at + 1, at + STEP + 1):
            credit += rate / 1000
            while credit >= PACKET:
                credit -= PACKET
                times.append(ms)
    return times


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, seed, state, outage in TRACES:
        times = opportunities(seed, state, outage)
        (folder / f"{name}.mahi").write_text("".join(f"{ms}\n" for ms in times))
