"""What the documents say and the code has, held against each other."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lambent import config
from lambent.base import machine
from lambent.cli.main import COMMANDS, build_parser

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def headings(name: str) -> set[str]:
    return set(re.findall(r"^## (.+)$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_setting_has_a_heading_and_every_heading_a_setting():
    assert headings("docs/settings.md") == set(config.SETTINGS)


@pytest.mark.parametrize("setting", [name for name in config.SETTINGS if not name.endswith("_dir")])
def test_the_documented_default_is_the_real_one(setting):
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {setting}\n")[2].partition("\n## ")[0]
    default = getattr(config.Config(data_dir=ROOT), setting)
    assert f"Default: `{default}`." in section


def test_every_command_has_a_heading_and_every_heading_a_command():
    documented = {heading for heading in headings("docs/cli.md") if heading.startswith("lambent ")}
    assert documented == {f"lambent {command}" for command in COMMANDS}


def test_every_choice_of_a_setting_is_documented():
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    for choice in (*config.ISOLATIONS, *config.AUTHS, *config.TMPS, *config.LOG_LEVELS):
        assert f"`{choice}`" in text


def options_of(command: str) -> set[str]:
    """Of a command and of what it divides into."""
    parsers = [choices(build_parser())[command]]
    parsers += choices(parsers[0]).values()
    return {option for parser in parsers for action in parser._actions for option in action.option_strings}


def choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    divided = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(divided[0].choices) if divided else {}


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_option_of_a_shown_command_exists(document):
    text = document.read_text(encoding="utf-8")
    for command, rest in re.findall(r"lambent (\w+)([^\n`|]*)", text):
        if command in COMMANDS:
            unknown = set(re.findall(r"(?<![\w-])--[a-z-]+", rest)) - options_of(command)
            assert unknown == set(), f"lambent {command}{rest}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_link_leads_somewhere(document):
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_file_in_backticks_exists(document):
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|tests|benchmarks|scripts|docs|examples|requirements)/[\w./-]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_readme_names_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\nmake run\n" in text
    assert "\nmake test\n" in text


def test_every_target_of_the_makefile_is_in_its_help():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE)) - {"help"}
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert targets == set(re.findall(r"^make ([a-z]+)", shown, re.MULTILINE))


def test_the_doctor_knows_the_python_versions_that_the_readme_promises():
    first, last = machine.PYTHON_VERSIONS[0], machine.PYTHON_VERSIONS[-1]
    assert f"Python {first} to {last}" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "requirements").glob("*.txt")))
def test_requirements_have_hashes_and_no_address(name):
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    pins = re.findall(r"^[A-Za-z0-9].*$", text, re.MULTILINE)
    assert pins
    assert all(re.match(r"^[a-z0-9-]+==\S+ (; .*)?\\$", pin) for pin in pins), pins
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text
    assert "index-url" not in text


def test_the_runtime_requirements_are_part_of_the_tests():
    def pins(name: str) -> set[str]:
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        return set(re.findall(r"^[a-z0-9-]+==\S+", text, re.MULTILINE))

    assert pins("runtime.txt") <= pins("embedded.txt") <= pins("test.txt")


@pytest.mark.parametrize("script", ["operations", "services"])
def test_the_lists_are_what_the_server_registers(script):
    command = [sys.executable, ROOT / f"scripts/{script}.py", "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
