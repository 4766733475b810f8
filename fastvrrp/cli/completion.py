"""`fastvrrp completion SHELL`: a script that lets a shell complete our commands.

The script asks fastvrrp itself, through argcomplete, which reads the tree of argparse: commands,
options and choices are completed as they are parsed, and the argument of `keyword` from the table
of keywords. So one script serves every later version.
"""

from __future__ import annotations

import argparse

PROGRAM = "fastvrrp"
FILES = frozenset({"FILE", "OLD"})
"""Metavars of arguments that are files; other arguments without choices have no completion."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "completion",
        help="print a script for completion in a shell",
        description="Prints a script that lets a shell complete commands, options, files and"
        " keywords. Where it belongs: README.md.",
        epilog='example: eval "$(fastvrrp completion bash)"',
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the script; the exit status."""
    from argcomplete.shell_integration import shellcode

    print(shellcode([PROGRAM], shell=arguments.shell))
    return 0


def answer(parser: argparse.ArgumentParser) -> None:
    """Answer the script that asks, and end the process."""
    import argcomplete

    _describe_arguments(parser)
    argcomplete.autocomplete(parser, always_complete_options=False)


def _describe_arguments(parser: argparse.ArgumentParser) -> None:
    """Say of every argument without choices whether files complete it, or nothing does."""
    from argcomplete.completers import FilesCompleter

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _describe_arguments(command)
        elif action.choices is None and not hasattr(action, "completer"):
            is_file = action.metavar in FILES
            completer = FilesCompleter() if is_file else _nothing
            action.completer = completer  # type: ignore[attr-defined]


def _nothing(**_: object) -> tuple[()]:
    return ()
