"""The command `fuse-data`: what it prints, what it leaves behind, and with which code it ends."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from commands import ENVIRONMENT, Outcome

from fuse import dataset
from fuse.data import fetch, io, registry
from fuse.data.manifest import Entry

Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: object) -> Outcome:
        capsys.readouterr()
        try:
            dataset.main([str(word) for word in words])
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Outcome(code, *capsys.readouterr())

    return call


def pictures(seed: int) -> bytes:
    made = torch.randint(256, (3, 20, 24), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    return io.encode(made, ".png")


def test_list_names_every_set_with_what_is_here(run: Run, tmp_path: Path) -> None:
    for role in ("near", "far"):
        io.write_bytes(tmp_path / "lytro" / role / "lytro-01.png", pictures(1))
    outcome = run("list", "--root", tmp_path)
    assert outcome.code == 0
    lines = {line.split()[0]: line.split() for line in outcome.out.splitlines()}
    assert set(lines) == {"set", *(data.name for data in registry.load_all())}
    assert lines["lytro"][1:8] == ["focus", "near,", "far", "1", "20", "1.8", "fetch"]
    assert lines["m3fd"][-3:] == ["import", "your", "copy"]
    cards = {card["name"]: card for card in json.loads(run("list", "--root", tmp_path, "--json").out)}
    assert cards["lytro"]["scenes"]["test"] == [1, 10]
    assert cards["vis_ir_unreg"]["registered"] is False
    assert cards["mfi_whu"]["reference"] == "gt"
    assert all(card["terms"] and card["cite"] and card["get"] for card in cards.values())


def test_where(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSE_DATA", str(tmp_path))
    outcome = run("where", "tno")
    assert (outcome.code, outcome.out) == (0, f"{tmp_path / 'tno'}\n")
    assert "fuse-data fetch tno" in outcome.err
    assert run("where", "tno", "--root", tmp_path / "x").out == f"{tmp_path / 'x' / 'tno'}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["where", "lytr"], "no data set 'lytr'; did you mean lytro"),
        (["fetch", "m3fd"], "m3fd has no manifest and cannot be fetched: fuse-data import m3fd FOLDER_OR_ZIP"),
        (["fetch", "lytro"], "nobody is here to accept the terms above; if you do, add --accept-terms"),
        (["import", "tno", "nowhere.zip"], "nowhere.zip cannot be found"),
        (["verify", "tno"], "data set tno is not in"),
        (["verify", "all"], "none of the sets is in"),
        (["audit", "nowhere"], "nowhere is not a folder"),
    ],
)
def test_mistakes_end_with_one_message_and_code_2(
    words: list[str], message: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    outcome = run(*words, *([] if words[0] == "audit" else ["--root", tmp_path / "root"]))
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.startswith("fuse-data: ")
    assert "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_terms_are_shown_and_asked_for(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def one(entry: Entry, folder: Path, base: str) -> str | None:
        return asked.append(entry.url(base))

    monkeypatch.setattr(fetch, "one", one)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    outcome = run("fetch", "lytro_triples", "--root", tmp_path)
    assert outcome.code == 2
    assert "its authors ask to be cited" in outcome.out
    assert "Nejati" in outcome.out
    assert asked == []
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    run("fetch", "lytro_triples", "--root", tmp_path, "--base", "http://here")
    assert len(asked) == 12
    assert asked[0].startswith("http://here/uzeful/IFCNN/")
    assert "Triple%20Series" in asked[0]
    run("fetch", "lytro_triples", "--root", tmp_path, "--accept-terms")
    assert asked[-1].startswith("https://raw.githubusercontent.com/uzeful/IFCNN/8fe59c2b")


def test_a_fetch_that_fails_in_part_ends_with_code_3_and_lists_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "one", lambda entry, folder, base: "the server answered 404")
    outcome = run("fetch", "lytro_triples", "--root", tmp_path, "--accept-terms")
    assert outcome.code == 3
    assert "near/lytro-01.jpg: the server answered 404" in outcome.err
    assert "0 of 12 files are here and right" in outcome.out
    assert outcome.out.splitlines()[-1] == str(tmp_path / "lytro_triples")


def test_import_tells_how_far_it_came(run: Run, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as made:
        for name in ("Ir/1.png", "Vis/1.png", "Ir/2.png"):
            made.writestr(name, pictures(len(name)))
    outcome = run("import", "m3fd", tmp_path / "mine.zip", "--root", tmp_path / "root")
    assert outcome.code == 0
    assert "2 by name, no manifest to check them against" in outcome.out
    assert "1 scenes of m3fd/test" in outcome.out
    assert outcome.out.splitlines()[-1] == str(tmp_path / "root" / "m3fd")
    assert run("verify", "m3fd", "--root", tmp_path / "root").code == 0


def test_import_of_a_shuffled_archive_of_real_pictures(run: Run, shared: Path, tmp_path: Path) -> None:
    source = shared / "datasets" / "lytro"
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as made:
        for number, path in enumerate(sorted(source.rglob("*.jpg"), key=lambda p: p.stat().st_size)[:38]):
            made.write(path, f"DCIM/{number % 3}/IMG_{1000 - number}.jpg")
    outcome = run("import", "lytro", tmp_path / "mine.zip", "--root", tmp_path / "root")
    assert outcome.code == 0
    assert "38 files known by their bytes" in outcome.out
    assert "still missing (2): " in outcome.out
    verified = run("verify", "lytro", "--root", tmp_path / "root", "--json")
    assert verified.code == 3
    assert json.loads(verified.out)[0]["right"] == 38


def test_verify_says_what_is_incomplete_and_what_is_whole(run: Run, shared: Path) -> None:
    outcome = run("verify", "lytro", "--root", shared / "datasets")
    assert outcome.code == 0
    assert "lytro: whole; 40 of 40 files as manifest ee663bb234f5 says" in outcome.out
    outcome = run("verify", "mf_gray", "--root", shared / "datasets")
    assert outcome.code == 3
    assert "mf_gray: incomplete" in outcome.out
    assert "missing scenes (4): g_07 g_08 g_09 g_10" in outcome.out


def test_audit_writes_its_report(run: Run, tmp_path: Path) -> None:
    for role in ("near", "far"):
        for stem in ("a", "b"):
            io.write_bytes(tmp_path / "pairs" / role / f"{stem}.png", pictures(ord(stem)))
    outcome = run("audit", tmp_path / "pairs", "-o", tmp_path / "out")
    assert outcome.code == 0
    assert "2 scenes: near is the same picture as far" in outcome.out
    assert outcome.out.splitlines()[-1] == str(tmp_path / "out")
    report = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert set(report["scenes"]) == {"a", "b"}
    (tmp_path / "pairs" / "far" / "b.png").write_bytes(b"")
    outcome = run("audit", tmp_path / "pairs", "--roles", "near,far", "--json")
    assert outcome.code == 3
    assert json.loads(outcome.out)["unreadable"][0].startswith("b: ")


def test_the_command_starts_fast_without_torch(tmp_path: Path) -> None:
    text = "import sys; from fuse.dataset import parser; parser(); print({'torch', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_a_result_names_the_manifest(shared: Path) -> None:
    from fuse.judge import about

    data = registry.load("lytro", str(shared / "datasets"))
    assert about(data, "five", [])["data"]["manifest"] == "ee663bb234f5"
