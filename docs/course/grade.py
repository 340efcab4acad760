"""Grades folders of hand-ins, each with a `net.net` and perhaps its trained `weights.safetensors`.

python grade.py handins -o grades --reference reference.net --held-out secret.npz --due 2026-11-30
"""

import argparse
import csv
import hashlib
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path

POINTS = {"check": 3, "limits": 2, "same": 2, "accuracy": 3, "weights": 3}
LIMITS = [
    "--assert=numbers <= 100_000 and layers <= 50",
    "--assert=flops <= 10_000_000 and training_bytes <= 1_000_000",
    "--forbid=batch_norm",
    "--input=1,8,8",
    "--output=10",
]
TRAINING = ["--no-recipe", "--data=digits", "--epochs=10", "--max-seconds=60", "--threads=1"]
ACCURACY = 0.9
WEIGHTS = "weights.safetensors"
BYTES = {".net": 1 << 16, ".safetensors": 1 << 22}
FILES, MEMORY, PROCESSOR_SECONDS, SECONDS = 20, 4 << 30, 120, 300


def limit():
    """Bound the process that this is called in."""
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def netspec(folder, *arguments):
    """Run a command in a process; return whether its exit code is 0, what it printed, and its errors."""
    command = [sys.executable, "-m", "netspec", *arguments]
    how = {"capture_output": True, "encoding": "utf-8", "errors": "replace", "timeout": SECONDS}
    try:
        done = subprocess.run(command, cwd=folder, preexec_fn=limit, check=False, **how)
    except subprocess.TimeoutExpired:  # it was killed
        return False, "", f"took longer than {SECONDS} seconds"
    if -done.returncode in (signal.SIGXCPU, signal.SIGKILL):
        return False, "", f"took longer than {PROCESSOR_SECONDS} seconds of processor time"
    if done.returncode < 0:
        return False, "", f"was ended by signal {-done.returncode}\n{done.stderr}"
    return done.returncode == 0, done.stdout, done.stderr


def shown(name):
    """Return the name of a file or folder as text, whatever its characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def read(path):
    """Return the bytes of a regular file and when it was written; no links, pipes or large files."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(file, "rb") as opened:
        info = os.fstat(file)
        if not stat.S_ISREG(info.st_mode) or info.st_size > BYTES[path.suffix]:
            raise OSError("not such a file")
        return opened.read(), info.st_mtime


def take(handin, folder):
    """Copy the files that were asked for; return what was left out, and when the last was written."""
    left, latest = [], 0.0
    by_use = sorted(handin.iterdir(), key=lambda path: (path.suffix not in BYTES, path.name))
    for path in by_use[:FILES]:
        try:
            content, written = read(path)
            (folder / path.name).write_bytes(content)
            latest = max(latest, written)
        except (OSError, KeyError):
            left.append(f"'{shown(path.name)}' was not read: it is no file that was asked for")
    return left, latest


def judged(folder, *what):
    """Return whether a trained net is good enough, and what to say."""
    done, out, err = netspec(folder, "eval", *what, "--format=json", "--threads=1")
    if not done:
        return False, err
    found = json.loads(out)
    if found["not_finite"]:
        return False, "the scores are not finite: there is NaN or infinity in the weights"
    share = found["accuracy"]
    # A warning, such as of pixels that are not those of training, is the teacher's or the student's.
    return share >= ACCURACY, f"{err}{share:.2%} of the images, {ACCURACY:.0%} are needed"


def task(name, folder, options):
    """Return whether a task is done, and what to say."""
    if name == "same":  # a difference would show the reference
        done, _, _ = netspec(folder, "diff", "--ignore=init,names", options.reference, "net.net")
        return done, "the net that was asked for" if done else "not the net that was asked for"
    if name == "weights":  # each tensor of the net must be there, with its shape
        return judged(folder, "net.net", f"--weights={WEIGHTS}", f"--data={options.held_out}")
    if name == "accuracy":
        done, _, err = netspec(folder, "train", "net.net", "--out=run", *TRAINING)
        return judged(folder, "run") if done else (False, err)
    done, out, err = netspec(folder, "check", "net.net", *(LIMITS if name == "limits" else ()))
    return done, err + out


def grade(handin, names, options):
    """Return the points for each task, the feedback, the days it is late, and what its weights are."""
    points, same = dict.fromkeys(names, 0), None
    if handin.is_symlink():
        return points, "the hand-in is a link", 0, same
    if not handin.is_dir():
        raise ValueError("it is no folder; an archive is unpacked before")
    with tempfile.TemporaryDirectory() as folder:
        said, latest = take(handin, Path(folder))
        late = 0 if options.due is None else max(0, -int((options.due - latest) // 86400))
        for name in names:
            done, text = task(name, folder, options)
            points[name] = POINTS[name] * done
            said.append(f"{name}: {points[name]} of {POINTS[name]}\n{text}\n")
            if name in ("check", "limits") and not done:  # nothing that costs more is run
                break
        listed, tensors, _ = netspec(folder, "weights", WEIGHTS, "--format=json")
        if listed:
            same = hashlib.sha256(tensors.encode()).digest()
    return points, "\n".join(said), late, same


def due(text):
    """Return when a day ends, or a moment with a time of day."""
    moment = datetime.fromisoformat(text)
    return (moment + timedelta(days=len(text) == len("2026-11-30"))).timestamp()


def tasks(text):
    """Return the names of tasks, with commas between them."""
    names = text.split(",")
    if unknown := set(names) - set(POINTS):
        raise argparse.ArgumentTypeError(f"no tasks: {', '.join(unknown)}; {', '.join(POINTS)} are")
    return names


def told(handin):
    """Return the name of the file with what is told of a hand-in, which a file system must take."""
    name = handin.name
    if len(os.fsencode(name)) > 240:
        name = name[:50] + hashlib.sha256(os.fsencode(name)).hexdigest()[:20]
    return f"{name}.txt"


def main():
    """Grade each folder, and write the table and the texts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("handins", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("grades"))
    parser.add_argument("--reference", type=lambda path: str(Path(path).resolve()))
    parser.add_argument("--held-out", type=Path, help="an .npz of x_test and y_test")
    parser.add_argument("--due", type=due, help="the last day, or a day and a time")
    parser.add_argument(
        "--tasks", type=tasks, default=",".join(POINTS), help="such as check,weights"
    )
    options = parser.parse_args()
    needed = {"same": options.reference, "weights": options.held_out}
    names = [name for name in options.tasks if needed.get(name, True)]
    options.out.mkdir(exist_ok=True)
    rows, alike = [], defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        if options.held_out:  # messages name the copy
            options.held_out = shutil.copyfile(options.held_out, Path(folder) / "held-out.npz")
        for handin in sorted(
            each for each in options.handins.iterdir() if each.name[0] not in "._"
        ):
            try:
                points, said, late, same = grade(handin, names, options)
            except Exception as error:  # the others are graded all the same
                points, late, same = dict.fromkeys(names, 0), 0, None
                said = f"look at it by hand: {error!r}"
            text = said.encode("utf-8", "backslashreplace")
            (options.out / told(handin)).write_bytes(text)
            rows.append(
                [shown(handin.name), points, late, same, said[:20] == "look at it by hand: "]
            )
            alike[same].append(shown(handin.name))
            print(f"{sum(points.values()):3} {shown(handin.name)}", flush=True)
    with (options.out / "grades.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["hand-in", *names, "points", "days late", "look at"])
        for name, points, late, same, failed in rows:
            others = [other for other in alike[same] if same and other != name]
            look = (
                "grade by hand" if failed else f"weights of {', '.join(others)}" if others else ""
            )
            cells = [name, *points.values(), sum(points.values()), late, look]
            table.writerow(
                [f"'{c}" if str(c).startswith(("=", "+", "-", "@")) else c for c in cells]
            )


if __name__ == "__main__":
    main()
