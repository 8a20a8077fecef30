"""`fuse`: own pictures, without Hydra and without configuration."""

import argparse
import sys
from pathlib import Path

from fuse.errors import InputError

SOME_FAILED = 3
HELP = """\
Fuse two or more pictures of one scene into one that holds what each saw best.

  fuse near.jpg far.jpg -o sharp.png          two or more pictures
  fuse stack/ -o sharp.tif                    all pictures of one folder
  fuse infrared/ visible/ -o fused/           two or more folders, matched by file name
"""
NOTES = """\
The result has the size, depth (8 or 16 bit) and colour of the pictures. They must be aligned and of one size.
EXIF orientation is applied; other metadata are not carried over.
Exit code 0: done; 2: the input cannot be used; 3: some of many pictures failed and are listed, the others are done.
"""


def main(words: list[str] | None = None) -> None:
    """The command; see HELP."""
    parser = argparse.ArgumentParser(
        "fuse", description=HELP, epilog=NOTES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="PICTURE_OR_FOLDER")
    parser.add_argument("-o", "--output", type=Path, required=True, help="picture, or folder if folders are fused")
    parser.add_argument(
        "--method",
        default="gff",
        help="gff (default), laplacian, mertens or another rule (fuse-list methods), or a run or checkpoint folder",
    )
    parser.add_argument(
        "--balance",
        type=float,
        help="0 to 1: share of the first picture's brightness, for methods that were trained so",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto (default)")
    asked = parser.parse_args(words)
    try:
        failed = fuse_all(jobs(asked.inputs, asked.output), asked.method, asked.device, asked.balance)
    except InputError as problem:
        print(f"fuse: {problem}", file=sys.stderr)
        sys.exit(2)
    if failed:
        print("\n".join(["failed:", *failed]), file=sys.stderr)
    print(asked.output)
    if failed:
        sys.exit(SOME_FAILED)


def jobs(inputs: list[Path], output: Path) -> list[tuple[list[Path], Path]]:
    """What to fuse into what.

    Raises:
        InputError: missing, too few or mixed inputs, or an output that is one of them.
    """
    from fuse.data import io

    if missing := [str(path) for path in inputs if not path.exists()]:
        raise InputError(f"{', '.join(missing)} cannot be found")
    folders = [path.is_dir() for path in inputs]
    if any(folders) and not all(folders):
        raise InputError("pictures and folders cannot be mixed; give pictures, one folder, or several folders")
    if all(folders) and len(inputs) > 1:
        return matched(inputs, output)
    sources = list(io.pictures(inputs[0]).values()) if folders[0] else inputs
    if len(sources) < 2:
        raise InputError(f"{inputs[0]}: fusion needs two or more pictures, {len(sources)} given")
    if output.suffix.lower() not in io.SUFFIXES:
        raise InputError(f"'{output}' names no picture format; end it with one of {', '.join(io.SUFFIXES)}")
    if any(output.exists() and output.samefile(source) for source in sources):
        raise InputError(f"{output} is one of the pictures to fuse and would be lost; choose another name")
    return [(sources, output)]


def matched(inputs: list[Path], output: Path) -> list[tuple[list[Path], Path]]:
    """One job per stem that every folder has.

    Raises:
        InputError: no such stem, or an output folder that is one of the inputs.
    """
    from fuse.data import io

    if any(output.exists() and output.samefile(folder) for folder in inputs):
        raise InputError(f"{output} is one of the folders to fuse and its pictures would be lost; choose another")
    found = [io.pictures(folder) for folder in inputs]
    stems = sorted(set.intersection(*(set(pictures) for pictures in found)))
    if not stems:
        some = ", ".join(f"{folder}: {', '.join(list(p)[:3])}" for folder, p in zip(inputs, found, strict=True))
        raise InputError(f"no file name (without ending) is in all folders. {some}")
    for folder, pictures in zip(inputs, found, strict=True):
        if alone := sorted(set(pictures) - set(stems)):
            print(f"{folder}: {len(alone)} without a partner: {', '.join(alone[:5])}", file=sys.stderr)
    return [([pictures[stem] for pictures in found], output / f"{stem}.png") for stem in stems]


def fuse_all(work: list[tuple[list[Path], Path]], method: str, device: str, balance: float | None = None) -> list[str]:
    """Fuse and write; what failed of several jobs.

    Raises:
        InputError: the method cannot be had or has no balance, or the only job failed.
    """
    import torch
    from tqdm import tqdm

    from fuse import infer, methods
    from fuse.data import io
    from fuse.update import pick

    torch.set_flush_denormal(True)
    where = pick(device)
    fuser, _ = methods.fuser(method, where)
    if balance is not None:
        if not hasattr(fuser, "balance"):
            raise InputError(f"--balance={balance}: {method} has no balance to set; train one with model=conditional")
        if not 0 <= balance <= 1:
            raise InputError(f"--balance={balance}: must be from 0 to 1")
        vars(fuser)["balance"] = balance
    failed = []
    for sources, target in tqdm(work, unit="picture", disable=None if len(work) > 1 else True):
        try:
            io.write(target, infer.fuse(fuser, [io.read(path)[None] for path in sources], device=where)[0])
        except InputError as problem:
            if len(work) == 1:
                raise
            failed.append(f"{target.stem}: {problem}")
    if len(failed) == len(work):
        raise InputError("nothing could be fused:\n" + "\n".join(failed))
    return failed
