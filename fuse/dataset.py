"""`fuse-data`: data sets by manifest, hash by hash; without Hydra."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuse.errors import InputError

SOME_FAILED = 3
HELP = """\
Data sets by manifest, hash by hash.

  fuse-data list                          what there is, and how much of it is here
  fuse-data fetch lytro                   download what is not here yet
  fuse-data import m3fd M3FD_Fusion.zip   sort a copy of your own into its place
  fuse-data verify lytro                  every file against the manifest, every split against the others
  fuse-data audit my_pairs/ -o report/    any folder of pairs: shifts, sizes, swapped roles, duplicates, saturation
  fuse-data where lytro                   the folder it is in
"""
NOTES = """\
Sets lie in ROOT/<set>/<role>/<stem>.<ext>; ROOT is --root, else the environment variable FUSE_DATA, else the cache.
Exit code 0: done; 2: the input cannot be used; 3: some files failed, are wrong or are missing, and are listed.
"""
SHOWN = 12  # lines of a long list, unless --json is asked for


def main(words: list[str] | None = None) -> None:
    """The command; see HELP."""
    asked = parser().parse_args(words)
    try:
        failed = asked.do(asked)
    except InputError as problem:
        print(f"fuse-data: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        sys.exit(130)
    if failed:
        sys.exit(SOME_FAILED)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(
        "fuse-data", description=HELP, epilog=NOTES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = whole.add_subparsers(required=True, metavar="VERB")

    def verb(
        name: str, do: Callable[[argparse.Namespace], bool], about: str, *, root: bool = True, form: bool = False
    ) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=about, description=about)
        made.set_defaults(do=do)
        if root:
            made.add_argument("--root", help="folder that holds the sets")
        if form:
            made.add_argument("--json", action="store_true", help="as JSON, whole lists")
        return made

    verb("list", listed, "What there is, and how much of it is here.", form=True)
    fetching = verb("fetch", fetched, "Download a set by its manifest; files that are here and right are left alone.")
    fetching.add_argument("name")
    fetching.add_argument("--accept-terms", action="store_true", help="do not ask whether you accept the terms")
    fetching.add_argument("--base", help="another server with the same paths, such as a mirror")
    bringing = verb("import", brought, "Sort a folder or zip archive you have into the place of a set.")
    bringing.add_argument("name")
    bringing.add_argument("source", type=Path, metavar="FOLDER_OR_ZIP")
    verb("verify", verified, "Hold a set against its manifest.", form=True).add_argument("name", help="a set, or all")
    auditing = verb("audit", audited, "Look through any folder of pairs.", root=False, form=True)
    auditing.add_argument("folder", type=Path)
    auditing.add_argument("--roles", help="names of the sources, as in ir,vi; else told from folders and names")
    auditing.add_argument("-o", "--output", type=Path, help="folder for audit.json and a map of offsets per pair")
    verb("where", located, "The folder of a set.").add_argument("name")
    return whole


def listed(asked: argparse.Namespace) -> bool:
    """`fuse-data list`."""
    from fuse.data import manifest, registry
    from fuse.data.bring import standing

    cards: list[dict[str, Any]] = []
    for data in registry.load_all(asked.root):
        entries = manifest.load(data.name) if manifest.exists(data.name) else ()
        try:
            splits: Any = {split: list(counts) for split, counts in standing(data).items()}
        except InputError as problem:
            splits = {"all": [0, len(manifest.stems(entries))], "problem": str(problem)}
        cards.append(
            {
                "name": data.name,
                "task": data.task,
                "roles": list(data.roles),
                "reference": data.reference,
                "colour": data.colour,
                "registered": data.registered,
                "scenes": splits,
                "megabytes": round(sum(entry.bytes for entry in entries) / 1e6, 1),
                "manifest": manifest.identity(entries) if entries else None,
                "terms": data.terms,
                "cite": data.cite,
                "get": data.get,
            }
        )
    if asked.json:
        print(json.dumps(cards, indent=1))
        return False
    print(f"{'set':21}{'task':10}{'sources':22}{'here':>6} {'of':>5}{'MB':>7}  how to get it")
    for card in cards:
        here, every = card["scenes"]["all"]
        roles = card["roles"] if len(card["roles"]) < 4 else [card["roles"][0], "...", card["roles"][-1]]
        names = ", ".join([*roles, *([f"({card['reference']})"] if card["reference"] else [])])
        way = "fetch" if card["manifest"] else "import your copy"
        note = "" if card["registered"] else "; not registered"
        amount = card["megabytes"] or "?"
        print(f"{card['name']:21}{card['task']:10}{names:22}{here:6} {every or '?':>5}{amount:>7}  {way}{note}")
    return False


def fetched(asked: argparse.Namespace) -> bool:
    """`fuse-data fetch`."""
    from fuse.data import fetch, manifest, registry

    data = registry.load(asked.name, asked.root)
    if not manifest.exists(data.name):
        raise InputError(f"{data.name} has no manifest and cannot be fetched: {command(data.name)}. {data.get}")
    entries = manifest.load(data.name)
    missing = [entry for entry in entries if not fetch.right(data.folder / entry.place, entry)]
    if missing:
        amount = sum(entry.bytes for entry in missing) / 1e6
        print(f"{data.name}: {len(missing)} of {len(entries)} files to fetch, {amount:.1f} MB, into {data.folder}")
        print(f"Terms: {data.terms}\nCite: {data.cite}")
        agree(asked.accept_terms)
        with fetch.show(missing) as bar:
            failures = fetch.fetch(missing, data.folder, asked.base or fetch.BASE, bar.update)
    else:
        failures = []
    report_failures(failures)
    print(
        f"{data.name}: {len(entries) - len(failing(entries, data.folder))} of {len(entries)} files are here and right"
    )
    print(data.folder)
    return bool(failures)


def failing(entries: Any, folder: Path) -> list[Any]:
    """The files of a manifest that are not in the folder as it says."""
    from fuse.data import fetch

    return [entry for entry in entries if not fetch.right(folder / entry.place, entry)]


def agree(accepted: bool) -> None:
    """Ask whether the terms are accepted.

    Raises:
        InputError: they are not, or nobody is there to ask.
    """
    if accepted:
        return
    if not sys.stdin.isatty():
        raise InputError("nobody is here to accept the terms above; if you do, add --accept-terms")
    if input("Do you accept them? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError("nothing was fetched, since the terms were not accepted")


def brought(asked: argparse.Namespace) -> bool:
    """`fuse-data import`."""
    from fuse.data import bring, registry

    data = registry.load(asked.name, asked.root)
    if not asked.source.exists():
        raise InputError(f"{asked.source} cannot be found")
    with bring.opened(asked.source) as source:
        outcome = bring.bring(data, source)
    report_failures(outcome.failures)
    print(f"{data.name}: {len(outcome.exact)} files known by their bytes", end="")
    if outcome.similar:
        print(f", {len(outcome.similar)} by name and size only (other bytes than the manifest's)", end="")
    if outcome.unchecked:
        print(f", {len(outcome.unchecked)} by name, no manifest to check them against", end="")
    print()
    for split, (here, every) in bring.standing(data).items():
        print(f"{here} of {every} scenes of {data.name}/{split}" if every else f"{here} scenes of {data.name}/{split}")
    lacking = bring.lacking(data)
    report_list("still missing", lacking)
    print(data.folder)
    return bool(outcome.failures)


def verified(asked: argparse.Namespace) -> bool:
    """`fuse-data verify`."""
    from fuse.data import registry
    from fuse.data.verify import verify

    every = registry.load_all(asked.root) if asked.name == "all" else [registry.load(asked.name, asked.root)]
    here = [data for data in every if data.folder.is_dir()] if asked.name == "all" else every
    if not here:
        raise InputError(f"none of the sets is in {every[0].folder.parent}; fuse-data fetch NAME gets one")
    reports = [verify(data) for data in here]
    if asked.json:
        print(json.dumps([{**report._asdict(), "whole": report.whole} for report in reports], indent=1))
        return not all(report.whole for report in reports)
    for report in reports:
        kind = f"as manifest {report.manifest} says" if report.manifest else "readable (no manifest)"
        state = "whole" if report.whole else "faults" if report.faults else "incomplete"
        print(f"{report.name}: {state}; {report.right} of {report.files} files {kind}")
        parts = [f"{split} {here}" + (f"/{every}" if every else "") for split, (here, every) in report.splits.items()]
        print("  scenes: " + ", ".join(parts))
        report_list("  missing scenes", report.missing)
        report_list("  faults", report.faults)
        report_list("  files of equal bytes", [" = ".join(group) for group in report.equal])
        report_list("  scenes of two parts that look the same", report.across)
    return not all(report.whole for report in reports)


def audited(asked: argparse.Namespace) -> bool:
    """`fuse-data audit`."""
    from fuse.data import io
    from fuse.data.audit import audit

    roles = [role.strip() for role in asked.roles.split(",")] if asked.roles else None
    report = audit(asked.folder, roles, asked.output / "offsets" if asked.output else None)
    text = json.dumps(report._asdict(), indent=1)
    if asked.output:
        io.write_bytes(asked.output / "audit.json", text.encode())
    if asked.json:
        print(text)
        return bool(report.unreadable)
    print(f"{report.folder}: {len(report.scenes)} scenes of {', '.join(report.roles)}")
    report_list("without a partner", report.unmatched)
    report_list("unreadable", report.unreadable)
    found: dict[str, list[str]] = {}
    for stem, scene in report.scenes.items():
        for finding in scene["findings"]:
            found.setdefault(finding, []).append(stem)
    told = [f"{stems[0] if len(stems) == 1 else f'{len(stems)} scenes'}: {what}" for what, stems in found.items()]
    report_list("findings", told, len(told))
    report_list("scenes that look the same", [f"{first} and {second}: {value}" for first, second, value in report.same])
    report_list("files of equal bytes", [" = ".join(group) for group in report.equal])
    if not found and not report.unmatched:
        print("nothing to complain about")
    if asked.output:
        print(asked.output)
    return bool(report.unreadable)


def located(asked: argparse.Namespace) -> bool:
    """`fuse-data where`."""
    from fuse.data import registry

    data = registry.load(asked.name, asked.root)
    if not data.folder.is_dir():
        print(f"{data.name} is not there yet: {command(data.name)}", file=sys.stderr)
    print(data.folder)
    return False


def command(name: str) -> str:
    """The command that gets a set."""
    from fuse.data import manifest

    return f"fuse-data fetch {name}" if manifest.exists(name) else f"fuse-data import {name} FOLDER_OR_ZIP"


def report_failures(failures: list[str]) -> None:
    """List them where they do not mix with the result."""
    if failures:
        print("\n".join(["failed:", *failures]), file=sys.stderr)


def report_list(title: str, lines: list[str], most: int = SHOWN) -> None:
    """A titled list, cut where it gets long; short words stand on one line."""
    if not lines:
        return
    shown = [*lines[:most], *([f"... and {len(lines) - most} more"] if len(lines) > most else [])]
    brief = max(map(len, shown)) < 24
    print(f"{title} ({len(lines)}):", " ".join(shown) if brief else "\n    ".join(["", *shown]))
