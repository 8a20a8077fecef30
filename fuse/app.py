"""`fuse`: own pictures, without Hydra and without configuration."""

import argparse
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType

from fuse.errors import InputError

SOME_FAILED, STOPPED = 3, 128
TASKS = ("auto", "focus", "infrared", "medical", "exposure")
HELP = """\
Fuse two or more pictures of one scene into one that holds what each saw best.

  fuse near.jpg far.jpg -o sharp.jpg          two or more pictures
  fuse stack/ -o sharp.tif                    all pictures of one folder, as a stack
  fuse infrared/ visible/ -o fused/           two or more folders, matched by file name
"""
NOTES = """\
The result has the size, depth (8 bit, 16 bit, floating point), colours and metadata of the pictures; nothing is
stretched or cut unless you ask for it. Formats: PNG, JPEG, TIFF, WebP, BMP; read only: DICOM, NIfTI.

examples:
  fuse shots/ -o sharp.tif --map depth.png --report sharp.html
  fuse night_ir.png night_vi.jpg -o night.png --method laplacian
  fuse a.png b.png -o c.png --align off       the pictures match to the pixel already
  fuse shots/ -o sharp.tif --dry-run          only say what would be done

exit code 0: done; 2: the input or a word cannot be used, nothing was written; 3: some of many failed and are listed,
the others are done; 130 or 143: stopped.
"""


def main(words: list[str] | None = None) -> None:
    """The command; see HELP."""
    stopped: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopped.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        asked = parsed(words)
        for stream in (sys.stdout, sys.stderr):  # names of files may be no text
            getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
        failed = fuse_all(asked)
    except BaseException as problem:  # an import that is interrupted may end as any error
        if stopped or isinstance(problem, KeyboardInterrupt):
            print("fuse: stopped; what is not finished was not written", file=sys.stderr)
            sys.exit(STOPPED + (stopped or [signal.SIGINT])[-1])
        if not isinstance(problem, InputError):
            raise
        print(f"fuse: {problem}", file=sys.stderr)
        sys.exit(2)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if failed:
        print("\n".join(["failed:", *failed]), file=sys.stderr)
    print(asked.output)
    if failed:
        sys.exit(SOME_FAILED)


def parsed(words: list[str] | None) -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(
        "fuse", description=HELP, epilog=NOTES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("inputs", nargs="+", type=Path, metavar="PICTURE_OR_FOLDER")
    add("-o", "--output", type=Path, required=True, help="picture to write, or folder if folders are fused")
    add(
        "--task",
        choices=TASKS,
        default="auto",
        help="what the pictures are: several focus settings, infrared and visible, medical, several exposures; "
        "auto (default) looks and says what it found",
    )
    add("--method", help="a rule (fuse-list methods), or a run or checkpoint folder; left out, one that suits the task")
    add(
        "--align",
        default="auto",
        metavar="HOW",
        help="auto (default) measures first and moves pictures only if it helps; off; translation, similarity, affine "
        "or homography; or a file that --save-alignment wrote",
    )
    add("--save-alignment", type=Path, metavar="FILE", help="how the pictures were moved, as JSON, for --align")
    add("--crop", action="store_true", help="cut to what all pictures show after alignment, instead of filling in")
    add(
        "--color",
        default="mix",
        metavar="HOW",
        help="mix (default): the colours of all pictures; grey; first, or the number of a picture from 1: only its",
    )
    add("--stretch", action="store_true", help="spread the values of 16 bit grey pictures (thermal) over their range")
    add("--balance", type=float, help="0 to 1: share of the first picture's brightness, for methods trained so")
    add("--map", type=Path, metavar="FILE", help="which picture each place comes from: black the first, white the last")
    add("--report", type=Path, metavar="FILE", help="a page (HTML) with all pictures side by side and what was done")
    add("--max-mem", metavar="SIZE", help="memory to use at most, such as 2G; default half of what is free, at most 4G")
    add("--device", default="auto", help="cpu, cuda, or auto (default)")
    add("--dry-run", action="store_true", help="only say what would be done")
    return parser.parse_args(words)


def fuse_all(asked: argparse.Namespace) -> list[str]:
    """Fuse and write; what failed of several jobs, a line each.

    Raises:
        InputError: the words or the inputs cannot be used, or nothing could be fused.
    """
    from tqdm import tqdm

    from fuse.photos import batch, job, memory
    from fuse.update import pick

    work = batch.jobs(asked.inputs, job.Target(asked.output, asked.map, asked.report, asked.save_alignment))
    wish = job.Wish(
        asked.task,
        asked.method,
        batch.alignment(asked.align),
        batch.colour(asked.color),
        asked.balance,
        asked.stretch,
        asked.crop,
        memory.default_limit() if asked.max_mem is None else batch.limit(asked.max_mem),
        str(pick(asked.device)),
        asked.dry_run,
        "fuse " + shlex.join(sys.argv[1:]),
    )
    for line in batch.alone(asked.inputs):
        print(line, file=sys.stderr)
    many, failed = len(work) > 1, []
    with tqdm(total=len(work) if many else None, unit="picture" if many else "tile", disable=None, leave=False) as bar:

        def progress(done: int, tiles: int) -> None:
            bar.total = tiles
            bar.update(done - bar.n)

        for sources, target in work:
            try:
                told = job.run(sources, target, wish, None if many else progress)
            except InputError as problem:
                if not many:
                    raise
                failed.append(f"{target.picture.stem}: {problem}")
            else:
                name = f"{target.picture.stem}: " if many else ""
                for line in [*told.said, *(f"warning: {line}" for line in told.warnings)]:
                    bar.write(f"{name}{line}", file=sys.stderr)
            if many:
                bar.update()
    if len(failed) == len(work):
        raise InputError("nothing could be fused:\n" + "\n".join(failed))
    return failed
