"""The one table at the end of `fuse-train -m`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf


class Table(Callback):
    """Called by Hydra when all jobs of a sweep are done: compares them and prints where they differ."""

    failed: ClassVar[list[str]] = []

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Read every job's folder, whichever launcher ran it, write `table.md` and print the table."""
        from fuse.report_tables import sweep_table

        folder = Path(config.hydra.sweep.dir)
        jobs = sorted(
            (path for path in folder.iterdir() if path.is_dir()), key=lambda path: (len(path.name), path.name)
        )
        settings = {job: flat(OmegaConf.to_container(OmegaConf.load(job / "config.yaml"))) for job in jobs}
        swept = [
            key
            for key in dict.fromkeys(key for values in settings.values() for key in values)
            if key != "run.dir" and len({repr(values.get(key)) for values in settings.values()}) > 1
        ]
        rows = []
        for job in jobs:
            row: dict[str, object] = {"job": job.name} | {key: settings[job].get(key) for key in swept}
            if (job / "error.txt").exists():
                Table.failed.append(f"job {job.name}: {(job / 'error.txt').read_text().strip()}")
                row["failed"] = "yes"
            rows.append(row | means(job))
        text = sweep_table(rows)
        (folder / "table.md").write_text(text)
        print(text)
        print(folder)


def means(job: Path) -> dict[str, float]:
    """Mean test scores of the trained network of a job; empty if it was not evaluated."""
    summary = job / "eval" / "summary.json"
    if not summary.is_file():
        return {}
    methods = json.loads(summary.read_text())["scores"]
    return {metric: cell["mean"] for metric, cell in methods["trained"].items()}


def flat(node: Any, path: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots."""
    if not isinstance(node, Mapping):
        return {path: node}
    return {
        key: leaf for name, value in node.items() for key, leaf in flat(value, f"{path}.{name}".lstrip(".")).items()
    }
