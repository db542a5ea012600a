"""Large tensors lie in the arena, each where one of its size lay, and nothing else does."""

import json
import subprocess
import sys

import pytest

from gcnsys.kernels.backend import core

SCRIPT = """
import json, random, threading
import torch
from gcnsys.kernels.memory import LARGE, arena_bytes, keep_large_tensors

found = {"on": keep_large_tensors(), "again": keep_large_tensors()}
numbers = LARGE // 4

small = torch.ones(numbers - 100)
found["small"] = arena_bytes()[0]
one = torch.ones(numbers)
found["large"] = arena_bytes()[0]
alias = one[5:]
del one
found["held"] = arena_bytes()[0]
del alias
found["freed"] = arena_bytes()

# The same sizes over and over, in any order, with small things in between: no more than the most at once.
random.seed(0)
most, kept, alive = 0, [], []
for turn in range(3000):
    if alive and random.random() < 0.5:
        alive.pop(random.randrange(len(alive)))
    else:
        size = random.choice((2, 2, 2, 3)) * numbers
        alive.append(torch.full((size,), float(turn)))
        kept.append(torch.ones(10))
    if len(alive) > 12:
        alive.pop(0)
    most = max(most, arena_bytes()[0])
found["right"] = all(bool((each == each[0]).all()) for each in alive)
found["most"], found["taken"] = most, arena_bytes()[1]

def busy(number):
    for turn in range(200):
        x = torch.full((numbers + 64 * number,), float(number))
        assert float(x.sum()) == number * x.numel()

threads = [threading.Thread(target=busy, args=(number,)) for number in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
alive.clear()
x = torch.ones(numbers, requires_grad=True)
(x * 2).sum().backward()
del x
found["end"] = arena_bytes()[0]
print(json.dumps(found))
"""


@pytest.mark.skipif(core() is None or sys.platform != "linux", reason="the arena needs the native core")
def test_large_tensors_lie_in_the_arena_each_where_one_of_its_size_lay():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    large = 128 << 10
    assert found["on"]
    assert found["again"]
    assert found["small"] == 0
    assert found["large"] == found["held"] == large
    assert found["freed"] == [0, large]
    assert found["right"]
    assert found["taken"] <= 1.3 * found["most"]
    assert found["end"] == 0
