"""Grades folders of hand-ins, each with a `net.net`.

python grade.py handins -o grades --reference reference.net
"""

import argparse
import csv
import json
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

POINTS = {"check": 3, "limits": 2, "same": 2, "accuracy": 3}
LIMITS = ["--assert=params <= 100_000", "--forbid=batch_norm", "--input=1,8,8", "--output=10"]
TRAINING = ["--no-recipe", "--data=digits", "--epochs=10", "--max-seconds=60", "--threads=1"]
ACCURACY = 0.9
FILE_BYTES, MEMORY, PROCESSOR_SECONDS, SECONDS = 1 << 20, 4 << 30, 120, 300


def limit():
    """Bound the process that this is called in."""
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def netspec(folder, *arguments):
    """Run a command in a process; return whether its exit code is 0, what it printed, and its errors."""
    command = [sys.executable, "-m", "netspec", *arguments]
    how = {"capture_output": True, "encoding": "utf-8", "errors": "replace", "timeout": SECONDS}
    try:
        done = subprocess.run(command, cwd=folder, preexec_fn=limit, check=False, **how)
    except subprocess.TimeoutExpired:  # it was killed
        return False, "", f"took longer than {SECONDS} seconds"
    if done.returncode < 0:
        return False, "", f"took longer than {PROCESSOR_SECONDS} seconds of processor time"
    return done.returncode == 0, done.stdout, done.stderr


def take(handin, folder):
    """Copy regular files of a hand-in, no links, pipes or folders; return what was left out."""
    left = []
    for path in sorted(handin.iterdir()):
        info = path.lstat()
        if path.suffix == ".net" and stat.S_ISREG(info.st_mode) and info.st_size <= FILE_BYTES:
            shutil.copyfile(path, folder / path.name)
        else:
            left.append(f"{path.name!a} was not read: it is no .net file of at most 1 MB")
    return left


def task(name, folder, reference):
    """Return whether a task is done, and what to say."""
    if name in ("check", "limits"):
        done, *said = netspec(folder, "check", "net.net", *(LIMITS if name == "limits" else ()))
    elif name == "same":
        done, *said = netspec(folder, "diff", "--ignore", "init,names", reference, "net.net")
    else:
        done, *said = netspec(folder, "train", "net.net", "--out", "run", *TRAINING)
        if done:
            done, *said = netspec(folder, "eval", "run", "--format", "json")
        if done:
            share = json.loads(said[0])["accuracy"]
            return share >= ACCURACY, f"{share:.1%} of the test images, {ACCURACY:.0%} are needed"
    return done, "".join(reversed(said))


def grade(handin, names, reference):
    """Return the points for each task and the feedback."""
    points = dict.fromkeys(names, 0)
    with tempfile.TemporaryDirectory() as folder:
        said = take(handin, Path(folder))
        for name in names:
            done, text = task(name, folder, reference)
            points[name] = POINTS[name] * done
            said.append(f"{name}: {points[name]} of {POINTS[name]}\n{text}\n")
            if name == "check" and not done:  # nothing else can be looked at
                break
    return points, "\n".join(said)


parser = argparse.ArgumentParser()
parser.add_argument("handins", type=Path)
parser.add_argument("-o", "--out", type=Path, default=Path("grades"))
parser.add_argument("--reference", type=lambda path: Path(path).resolve())
parser.add_argument("--tasks", default=",".join(POINTS), help="with commas between them")
options = parser.parse_args()
names = [name for name in options.tasks.split(",") if name != "same" or options.reference]
options.out.mkdir(exist_ok=True)
with (options.out / "grades.csv").open("w", newline="", encoding="utf-8") as file:
    table = csv.writer(file)
    table.writerow(["hand-in", *names, "points"])
    for handin in sorted(each for each in options.handins.iterdir() if each.is_dir()):
        points, said = grade(handin, names, str(options.reference))
        (options.out / f"{handin.name}.txt").write_text(said, encoding="utf-8")
        table.writerow([handin.name.lstrip("=+-@"), *points.values(), sum(points.values())])
        print(f"{sum(points.values()):3} {handin.name}", flush=True)
