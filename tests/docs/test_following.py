"""A page that does not do what it says is noticed, with its place, its command, exit code and error."""

from pathlib import Path

import pytest

from pages import blocks, commands, differs
from session import Failed, Session, python


@pytest.fixture
def follow(tmp_path: Path, scorehouse: Path):
    session = Session(tmp_path, scorehouse, python(), {})
    yield lambda text: [session.follow(block) for block in blocks(text, "page.md")]
    session.close()


def test_commands_are_typed_into_one_shell(follow):
    assert follow("```sh\nexport A=1\nalias say=echo\n```\n\n```sh\ntest $A = 1 && say so\n```\n") == ["run", "run"]


def test_a_command_that_fails_is_told_with_its_place(follow):
    with pytest.raises(Failed) as failed:
        follow("words\n\n```sh\ntrue\nls /nowhere/at/all\n```\n")
    for part in ("page.md:5", "$ ls /nowhere/at/all", "exit code 2, not 0", "No such file"):
        assert part in str(failed.value)


def test_one_that_ends_its_shell_is_too(follow):
    with pytest.raises(Failed, match="page.md:2\n.*\nends the shell"):
        follow("```sh\nexit 0\n```\n")


def test_an_exit_code_is_expected_where_the_page_says_so(follow):
    assert follow("<!-- exit code: 3 -->\n```sh\ntrue\n(exit 3)\n```\n") == ["run"]
    with pytest.raises(Failed, match="exit code 0, not 3"):
        follow("<!-- exit code: 3 -->\n```sh\ntrue\n```\n")


def test_an_output_that_is_shown_is_held_to_what_is_printed(follow):
    assert follow("```console\n$ echo one; echo two\none\n…\n$ printf 'a 17 b'\na … b\n```\n") == ["run"]
    assert follow("<!-- output varies -->\n```console\n$ echo one\ntwo\n```\n") == ["run"]
    with pytest.raises(Failed, match="other than the page shows"):
        follow("```console\n$ echo one\ntwo\n```\n")


def test_python_goes_on_where_it_was(follow):
    assert follow("```python\na = 1\n```\n\n```python\nassert a == 1\n```\n") == ["run", "run"]
    with pytest.raises(Failed, match='page.md", line 3'):
        follow("\n```python\nraise ValueError\n```\n")


def test_what_python_prints_is_held_to_what_is_shown(follow):
    page = "```python\nprint(1)\n```\n\n```python\nprint(2)\n```\n\n<!-- printed -->\n```text\n{}\n```\n"
    assert follow(page.format(2))[-1] == "compared"
    with pytest.raises(Failed, match="other than is shown"):
        follow(page.format(1))


def test_what_is_not_run_has_a_reason(follow):
    assert follow("<!-- not run: needs a cluster -->\n```sh\nfalse\n```\n") == ["not run"]
    with pytest.raises(Failed, match="without a reason"):
        follow("<!-- not run: -->\n```sh\nfalse\n```\n")


def test_definitions_are_written_and_inserted(follow):
    page = "<!-- file: a.yaml -->\n```yaml\na:\nb:\n```\n\n<!-- insert: a.yaml after a: -->\n```yaml\n# a.yaml\na:\n  c: 1\n```\n"
    assert follow(page + "\n```console\n$ cat a.yaml\na:\n  c: 1\nb:\n```\n") == ["written", "written", "run"]


def test_commands_of_several_lines_are_one():
    (block,) = blocks("```sh\n# why\na \\\n  b\ncat <<'X'\nit's\nX\necho 'a\nb'  # don't\nc\n```\n", "page.md")
    assert [(c.line, c.text) for c in commands(block)] == [
        (3, "a \\\n  b"),
        (5, "cat <<'X'\nit's\nX"),
        (8, "echo 'a\nb'  # don't"),
        (10, "c"),
    ]


def test_an_ellipsis_stands_for_anything():
    assert not differs(["a", "…", "z"], "a\nb\nc\nz\n")
    assert not differs(["a … c"], "a bb c  \n")
    assert differs(["a", "z"], "a\nb\nz\n")
